"""Items: what is answered about them."""

from __future__ import annotations

from pydantic import Field

from serving.kinds.recommender.user_schemas import Features
from serving.schemas.fields import ModelUsed, Response


class Item(Response):
    """One item."""

    item_id: str = Field(examples=["50"])
    title: str | None = Field(description="Title, where the training data had one.", examples=["Star Wars (1977)"])
    categories: list[str] = Field(examples=[["Action", "Sci-Fi"]])
    year: int | None = Field(examples=[1977])
    interactions: int = Field(
        ge=0, description="How many users took to it: of all time, or of the window that was asked for."
    )
    score: float | None = Field(
        description="How well it fits what was asked, comparable within one answer only; null where nothing was."
    )


class ItemDetails(Item):
    """One item and all that is known of it."""

    model: ModelUsed
    features: Features
    rank: int = Field(ge=1, description="Place by popularity.")


class SimilarItems(Response):
    """Items alike."""

    model: ModelUsed
    algorithm: str = Field(description="What compared them.", examples=["item-knn"])
    item_id: str
    items: list[Item] = Field(description="Most alike first.")


class ItemList(Response):
    """One page of items."""

    model: ModelUsed
    items: list[Item] = Field(
        description="Best fit to the query first; without one the most popular first, as of training."
    )
    total: int = Field(ge=0, description="How many items there are on all pages.")
    next_page_token: str | None = Field(description="For `page_token`; null on the last page.")


class TopItems(Response):
    """The most popular items."""

    model: ModelUsed
    items: list[Item] = Field(description="Most users first; items that nobody took to are left out.")

"""Responses about items."""

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
    interactions: int = Field(ge=0, description="How many users interacted with it, in all or in the requested window.")
    score: float | None = Field(
        description="How well it fits the request, comparable within one response only; null without a query."
    )


class ItemDetails(Item):
    """One item with its features and its rank."""

    model: ModelUsed
    features: Features
    rank: int = Field(ge=1, description="Place by popularity.")


class SimilarItems(Response):
    """Similar items."""

    model: ModelUsed
    algorithm: str = Field(description="The algorithm that compared them.", examples=["item-knn"])
    item_id: str
    items: list[Item] = Field(description="Most similar first.")


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
    items: list[Item] = Field(description="Most users first; items without interactions are left out.")

"""Users: what is answered about them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from serving.kinds.recommender.schemas import (
    Algorithm,
    FeatureValue,
    Items,
    Recommendations,
    UserResult,
    WhyNotPersonal,
)
from serving.schemas.fields import ModelUsed, Response

Features = Annotated[
    dict[str, FeatureValue] | None, Field(description="From the feature store; null when it has no row.")
]


class UserRecommendations(Response):
    """Items for one user, in a form that stays the same as long as they do."""

    model: ModelUsed
    algorithm: Algorithm
    user_id: str
    items: Items
    reason: WhyNotPersonal

    @classmethod
    def of(cls, found: Recommendations) -> UserRecommendations:
        """Without what differs from call to call."""
        return cls(
            model=found.model,
            algorithm=found.algorithm,
            user_id=found.user_id,
            items=found.items,
            reason=found.reason,
        )


class UsersRecommendations(Response):
    """Items for several users, in the order of the query."""

    model: ModelUsed
    results: list[UserResult]


class SimilarUser(Response):
    """A user and how alike."""

    user_id: str
    score: float = Field(description="Higher is more alike. Comparable within one answer only.")


class SimilarUsers(Response):
    """People alike."""

    model: ModelUsed
    algorithm: Annotated[
        str, Field(description="What compared them; `overlap` is the share of common items.", examples=["user-knn"])
    ]
    user_id: str
    users: list[SimilarUser] = Field(description="Most alike first.")


class Group(Response):
    """A group, and how much it fits the user."""

    group: str = Field(examples=["engineer"])
    kind: str = Field(description="What the group is by; empty where groups are of one kind.", examples=["occupation"])
    members: int = Field(ge=0, description="How many users are in it.")
    is_member: bool = Field(description="Whether the user is in it already.")
    score: float = Field(
        description="How much more often people alike are in it than people in general: 1 is as often."
    )


class UserGroups(Response):
    """Groups for a user."""

    model: ModelUsed
    user_id: str
    groups: list[Group] = Field(description="Best fit first; empty when the model was trained without groups.")


class OwnItem(Response):
    """An item of the user's own."""

    item_id: str
    title: str | None
    rating: float | None = Field(description="The user's opinion, where the training data had ratings.")
    time: int | None = Field(description="When, in Unix seconds, where the training data had times.")


class CategoryShare(Response):
    """A category of the user's items."""

    category: str = Field(examples=["Comedy"])
    items: int = Field(ge=0, description="How many of the user's items have it.")
    share: float = Field(ge=0, le=1)


class UserOverview(Response):
    """What is known of a user."""

    model: ModelUsed
    user_id: str
    in_training: bool = Field(description="Whether the user is in the training data.")
    features: Features
    interactions: int = Field(ge=0, description="Items in the training data.")
    recent_interactions: int = Field(ge=0, description="Items by feedback since.")
    top_items: list[OwnItem] = Field(description="Recent ones first, then by rating.")
    top_categories: list[CategoryShare]
    similar_users: list[SimilarUser]
    groups: list[Group]

"""Responses about users."""

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
    """Items for one user, without what differs from call to call."""

    model: ModelUsed
    algorithm: Algorithm
    user_id: str
    items: Items
    reason: WhyNotPersonal

    @classmethod
    def of(cls, response: Recommendations) -> UserRecommendations:
        """Return `response` without what differs from call to call."""
        return cls(
            model=response.model,
            algorithm=response.algorithm,
            user_id=response.user_id,
            items=response.items,
            reason=response.reason,
        )


class UsersRecommendations(Response):
    """Items for several users, in the order of the query."""

    model: ModelUsed
    results: list[UserResult]


class SimilarUser(Response):
    """A similar user."""

    user_id: str
    score: float = Field(description="Higher is more similar. Comparable within one response only.")


class SimilarUsers(Response):
    """Similar users."""

    model: ModelUsed
    algorithm: Annotated[
        str,
        Field(
            description="The algorithm that compared them; `overlap` is the share of common items.",
            examples=["user-knn"],
        ),
    ]
    user_id: str
    users: list[SimilarUser] = Field(description="Most similar first.")


class Group(Response):
    """A group, and how well it fits the user."""

    group: str = Field(examples=["engineer"])
    kind: str = Field(
        description="The attribute that defines the group; empty where there is one kind of group.",
        examples=["occupation"],
    )
    members: int = Field(ge=0, description="How many users are in it.")
    is_member: bool = Field(description="Whether the user is in it already.")
    score: float = Field(description="How much more often similar users are in it than all users: 1 is as often.")


class UserGroups(Response):
    """Groups for a user."""

    model: ModelUsed
    user_id: str
    groups: list[Group] = Field(description="Best fit first; empty when the model was trained without groups.")


class OwnItem(Response):
    """An item that the user has interacted with."""

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
    """A user's profile: features, items, categories, similar users, groups."""

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

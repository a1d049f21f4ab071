"""Recommendations for users: what is asked and answered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, create_model

from serving.schemas.fields import InferenceTime, ModelUsed, Request, Response, UserId, WholeNumber
from serving.schemas.images import ItemProblem

MAX_ITEMS = 100

UnknownUser = Literal["popular", "error"]
Reason = Literal[
    "request_history", "recent_events", "user_features", "segment", "unknown_user", "missing_features", "no_history"
]


class RecommendOptions(Request):
    """How many items to recommend, which to leave out, and what to do about strangers."""

    n: WholeNumber = Field(10, ge=1, le=MAX_ITEMS, description="How many items to recommend at most.")
    filter_seen: bool = Field(True, description="Leave out the items that the user has interacted with already.")
    unknown_user: UnknownUser = Field(
        "popular",
        description="What a user who is not in the training data gets: `popular` items with a `reason`, or an `error`.",
    )


class RecommendRequest(RecommendOptions):
    """One user and what to recommend."""

    user_id: UserId


class BulkRecommendRequest(RecommendOptions):
    """Several users and what to recommend to each."""

    user_ids: Annotated[list[UserId], Field(min_length=1, description="Ids of the users.")]


def bulk_request(max_users: int) -> type[BulkRecommendRequest]:
    """The request of the bulk call, limited to `max_users`."""
    users = Annotated[list[UserId], Field(min_length=1, max_length=max_users, description="Ids of the users.")]
    base = BulkRecommendRequest
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, user_ids=(users, ...))


class RecommendedItem(Response):
    """One item and how well it fits the user."""

    item_id: str = Field(description="Id of the item, as it was in the training data.", examples=["50"])
    title: str | None = Field(description="Title of the item, where the training data had one.")
    score: float = Field(description="Higher is better. Comparable within one answer only.", examples=[2.31])


Items = Annotated[list[RecommendedItem], Field(description="Best first.")]
WhyNotPersonal = Annotated[
    Reason | None,
    Field(
        description=(
            "Why these are not the plain recommendations for a known user; null when they are. Popular items: "
            "`unknown_user` (not in the training data), `no_history` (no items yet), `missing_features` (neither items "
            "nor features). Popular among users alike: `segment`. Made from other things than the user's history: "
            "`user_features`, `request_history` (items that came with the request), `recent_events`."
        )
    ),
]


class Recommendations(Response):
    """Items for one user."""

    model: ModelUsed
    user_id: str
    items: Items
    reason: WhyNotPersonal
    inference_time_ms: InferenceTime


class UserResult(Response):
    """Items for one user of several."""

    status: Literal["ok"] = "ok"
    index: int = Field(ge=0, description="Position of the user in the request.")
    user_id: str
    items: Items
    reason: WhyNotPersonal


class UserFailure(Response):
    """Why one user of several has no items. The others are not touched by it."""

    status: Literal["error"] = "error"
    index: int = Field(ge=0, description="Position of the user in the request.")
    user_id: str
    error: ItemProblem


class BulkRecommendations(Response):
    """One result or one error per user, in the order of the request."""

    model: ModelUsed
    results: list[Annotated[UserResult | UserFailure, Discriminator("status")]]
    inference_time_ms: InferenceTime

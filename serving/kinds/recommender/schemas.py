"""Recommendations for users: requests and responses."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

from pydantic import Discriminator, FailFast, Field, create_model
from typing_extensions import TypeAliasType

from models.card import Card
from models.limits import MAX_ID_CHARACTERS, MAX_SAFE_INTEGER
from serving.kinds.responses import ItemProblem
from serving.schemas.fields import (
    AtLeastOne,
    Count,
    InferenceTime,
    ItemId,
    ModelUsed,
    Request,
    Response,
    UserId,
    WholeNumber,
)

MAX_ITEMS = 100

UnknownUser = Literal["popular", "error"]
Reason = Literal[
    "request_history", "recent_events", "user_features", "segment", "unknown_user", "missing_features", "no_history"
]
CauseKind = Literal["item", "feature", "segment", "popularity"]
MAX_LIST = 1000

Category = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]
FeatureValue = Annotated[
    str
    | Annotated[int, Field(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER)]
    | float
    | bool
    | list[Annotated[str, Field(max_length=MAX_ID_CHARACTERS)]]
    | None,
    Field(description="A number, a word, several words, or null when unknown."),
]
History = Annotated[
    list[ItemId],
    FailFast(),
    Field(
        max_length=MAX_LIST,
        description="Items that the user has interacted with; those that are not known are passed over.",
        examples=[["50", "181"]],
    ),
]
UserFeatures = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)], FeatureValue],
    Field(
        max_length=50,
        description="Features of the user, by the names that the model was trained with.",
        examples=[{"age": 25, "gender": "F"}],
    ),
]


class Choice(Request):
    """Items by id, or by a category of theirs."""

    ids: Annotated[list[ItemId], FailFast(), Field(max_length=MAX_LIST)] = Field(default_factory=list)
    categories: Annotated[list[Category], Field(max_length=100)] = Field(default_factory=list)


class RecommendOptions(Request):
    """The algorithm, the number of items, rules, and the handling of unknown users."""

    n: WholeNumber = Field(10, ge=1, le=MAX_ITEMS, description="How many items to recommend at most.")
    filter_seen: bool = Field(True, description="Leave out the items that the user has interacted with already.")
    unknown_user: UnknownUser = Field(
        "popular",
        description="What an unknown user gets: `popular` items with a `reason`, or an `error`.",
    )
    model: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Which algorithm answers; the model's default when null. One that does not support the request is "
        "a 422 that lists those that do.",
    )
    history: History = Field(default_factory=list)
    user_features: UserFeatures = Field(default_factory=dict)
    allow: Choice | None = Field(None, description="Only items that are named here, where any are.")
    deny: Choice | None = Field(None, description="No item that is named here.")
    categories: Annotated[list[Category], Field(max_length=100)] = Field(
        [], description="Only items with at least one of these categories.", examples=[["Comedy"]]
    )
    diversity: float = Field(
        0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="0 is best first; towards 1 the next item is the least like those before it (maximal marginal "
        "relevance over the features of items).",
    )
    min_score: float | None = Field(
        None, allow_inf_nan=False, description="Leave out items that score less. Scores differ from model to model."
    )
    max_per_category: AtLeastOne | None = Field(None, description="At most so many items of each category.")
    category_caps: dict[Category, Count] = Field(
        {}, max_length=100, description="At most so many items of these categories.", examples=[{"Drama": 2}]
    )
    explain: bool = Field(False, description="Add the causes of each item.")


class RecommendRequest(RecommendOptions):
    """One user, with options."""

    user_id: UserId


class PerUser(Request):
    """History and features of one user of several."""

    history: History = Field(default_factory=list)
    user_features: UserFeatures = Field(default_factory=dict)


class BulkRecommendRequest(RecommendOptions):
    """Several users, with options."""

    user_ids: Annotated[list[UserId], FailFast(), Field(min_length=1, description="Ids of the users.")]
    per_user: dict[Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)], PerUser] = Field(
        {},
        max_length=MAX_LIST,
        description="History and features of single users of `user_ids`, by id; before those for all.",
    )


def known_models(card: Card) -> list[str]:
    """Return the names that `model` may have, where the card lists them."""
    return next((list(column.categories) for column in card.inputs if column.name == "model"), [])


def name_models(schemas: dict[str, dict[str, Any]], card: Card) -> None:
    """Write the names that `model` may have into the finished JSON schemas of requests."""
    models = known_models(card)
    for name in ("RecommendRequest", "BulkRecommendRequest"):
        if models and name in schemas:
            described = schemas[name]["properties"]["model"]
            described["anyOf"] = [{"type": "string", "enum": models}, {"type": "null"}]


@functools.cache
def bulk_request(max_users: int) -> type[BulkRecommendRequest]:
    """Return the request of the bulk call, limited to `max_users`."""
    length = Field(min_length=1, max_length=max_users, description="Ids of the users.")
    users = Annotated[list[UserId], FailFast(), length]
    base = BulkRecommendRequest
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, user_ids=(users, ...))


class Cause(Response):
    """A cause of a recommendation: one of the user's items, a feature, the user's segment, or popularity."""

    kind: CauseKind
    name: str = Field(description="Id of the item, or what feature or segment it is.", examples=["181", "gender=F"])
    title: str | None = Field(description="Title of the item.")
    weight: float = Field(description="Comparable with the other causes of the same item only.")


class RecommendedItem(Response):
    """One item and how well it fits the user."""

    item_id: str = Field(description="Id of the item, as it was in the training data.", examples=["50"])
    title: str | None = Field(description="Title of the item, where the training data had one.")
    score: float = Field(description="Higher is better. Comparable within one answer only.", examples=[2.31])
    causes: list[Cause] = Field(
        [], description="The causes of the recommendation, strongest first; empty unless requested."
    )


Items = Annotated[list[RecommendedItem], Field(description="Best first.")]
WhyNotPersonal = Annotated[
    Reason | None,
    Field(
        description=(
            "Why these are not the personal recommendations of a known user; null when they are. Popular items: "
            "`unknown_user` (not in the training data), `no_history` (no items yet), `missing_features` (neither items "
            "nor features). Popular among similar users: `segment`. Made from other data than the user's history: "
            "`user_features`, `request_history` (items that came with the request), `recent_events`."
        )
    ),
]


Algorithm = Annotated[str, Field(description="The algorithm that made the items.", examples=["ease"])]


class Recommendations(Response):
    """Items for one user."""

    model: ModelUsed
    algorithm: Algorithm
    user_id: str
    items: Items
    reason: WhyNotPersonal
    inference_time_ms: InferenceTime


class UserResult(Response):
    """Items for one user of several."""

    status: Literal["ok"] = "ok"
    index: int = Field(ge=0, description="Position of the user in the request.")
    user_id: str
    algorithm: Algorithm
    items: Items
    reason: WhyNotPersonal


class UserFailure(Response):
    """Why one user of several has no items. It does not affect the others."""

    status: Literal["error"] = "error"
    index: int = Field(ge=0, description="Position of the user in the request.")
    user_id: str
    error: ItemProblem


UserOutcome = TypeAliasType("UserOutcome", Annotated[UserResult | UserFailure, Discriminator("status")])


class BulkRecommendations(Response):
    """One result or one error per user, in the order of the request."""

    model: ModelUsed
    results: list[UserOutcome]
    inference_time_ms: InferenceTime

"""Feedback: what is sent and answered."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, Strict, create_model

from serving.http.requests.idempotency import MAX_KEY_CHARACTERS
from serving.schemas.fields import KeptItemId, KeptUserId, Request, Response

EventKind = Literal["view", "click", "play", "save", "like", "rating", "purchase", "dislike", "hide"]
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def _as_time(value: object) -> object:
    # Numbers would be times as well, of a unit that is guessed.
    if not isinstance(value, str) or not _TIME.match(value):
        raise ValueError("should be a time as RFC 3339 writes it, with a time zone")
    return value


class FeedbackEvent(Request):
    """One thing that a user did with an item."""

    user_id: KeptUserId
    item_id: KeptItemId
    kind: EventKind = Field(
        description="What happened. `dislike` and `hide` keep the item from the user; all others speak for it."
    )
    value: float | None = Field(
        None, allow_inf_nan=False, description="A rating, a number of seconds, a price: whatever goes with the kind."
    )
    time: Annotated[AwareDatetime, Strict(False), BeforeValidator(_as_time)] | None = Field(
        None,
        description="When, with a time zone; now when null, or when it is yet to come.",
        examples=["2026-01-31T12:00:00Z"],
    )
    idempotency_key: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_KEY_CHARACTERS,
        description="Names the event: sent again under the same key it is the same event. Without one, events that "
        "agree in everything and bring their time are the same.",
    )


class FeedbackRequest(Request):
    """What users did."""

    events: Annotated[list[FeedbackEvent], Field(min_length=1)]


def feedback_request(max_events: int) -> type[FeedbackRequest]:
    """The request, limited to `max_events`."""
    events = Annotated[list[FeedbackEvent], Field(min_length=1, max_length=max_events)]
    base = FeedbackRequest
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, events=(events, ...))


class Accepted(Response):
    """What became of the events. All of them are durable."""

    accepted: int = Field(ge=0, description="Events that are new.")
    duplicates: int = Field(ge=0, description="Events that were known already; they change nothing.")

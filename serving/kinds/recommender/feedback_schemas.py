"""Feedback: requests and responses."""

from __future__ import annotations

import functools
import re
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, FailFast, Field, Strict, create_model

from serving.http.requests.idempotency import MAX_KEY_CHARACTERS
from serving.schemas.fields import KeptItemId, KeptUserId, Request, Response

EventKind = Literal["view", "click", "play", "save", "like", "rating", "purchase", "dislike", "hide"]
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def _as_time(value: object) -> object:
    # A number would be read as a time in a guessed unit.
    if not isinstance(value, str) or not _TIME.match(value):
        raise ValueError("should be a time as RFC 3339 writes it, with a time zone")
    return value


class FeedbackEvent(Request):
    """One interaction of a user with an item."""

    user_id: KeptUserId
    item_id: KeptItemId
    kind: EventKind = Field(
        description="The kind of interaction. `dislike` and `hide` exclude the item for the user; all others count "
        "in its favour."
    )
    value: float | None = Field(
        None, allow_inf_nan=False, description="A rating, a number of seconds, a price: whatever goes with the kind."
    )
    time: Annotated[AwareDatetime, Strict(False), BeforeValidator(_as_time)] | None = Field(
        None,
        description="When, with a time zone; now when null or in the future.",
        examples=["2026-01-31T12:00:00Z"],
    )
    idempotency_key: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_KEY_CHARACTERS,
        description="Names the event among those of its caller: sent again under the same key it is the same event; "
        "another event under it is refused. Without one, events that agree in everything and bring their time are the "
        "same.",
    )


class FeedbackRequest(Request):
    """Interactions of users."""

    events: Annotated[list[FeedbackEvent], FailFast(), Field(min_length=1)]


@functools.cache
def feedback_request(max_events: int) -> type[FeedbackRequest]:
    """Return the request, limited to `max_events`."""
    events = Annotated[list[FeedbackEvent], FailFast(), Field(min_length=1, max_length=max_events)]
    base = FeedbackRequest
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, events=(events, ...))


class Accepted(Response):
    """How many events were new. All of them are durable."""

    accepted: int = Field(ge=0, description="Events that are new.")
    duplicates: int = Field(ge=0, description="Events that were known already; they change nothing.")

"""The handler of feedback: events are durable before they are acknowledged."""

from __future__ import annotations

import hashlib
import itertools
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from models.recommender.events import NewEvent
from serving.errors.exceptions import FieldFault
from serving.kinds.recommender.feedback_schemas import Accepted, FeedbackEvent, FeedbackRequest
from serving.kinds.recommender.feedback_writer import Append, FeedbackWriter
from serving.kinds.recommender.metrics import count_feedback
from serving.kinds.recommender.settings import RecommenderSettings


class FeedbackHandler:
    """`send_feedback`."""

    def __init__(self, append: Append, settings: RecommenderSettings) -> None:
        self.max_events = settings.max_feedback_events
        self._writer = FeedbackWriter(append)

    async def send(self, request: FeedbackRequest, *, owner: str = "", request_key: str | None = None) -> Accepted:
        """Store events. `request_key` names the request as a whole: sent again by `owner`, it is the same events.

        Raises FieldFault for too many of them, KeyReused, Overloaded and FeedbackUnavailable.
        """
        if len(request.events) > self.max_events:
            message = f"1 to {self.max_events} events may be sent at a time, not {len(request.events)}"
            raise FieldFault(message, location=("body", "events"), value_type="array")
        is_new = await self._writer.write(_new_events(request.events, owner, request_key))
        accepted = sum(is_new)
        count_feedback(accepted, len(is_new) - accepted)
        return Accepted(accepted=accepted, duplicates=len(is_new) - accepted)

    def open(self) -> None:
        """Open the log in the background, so that the first client does not wait for it."""
        self._writer.open()

    def close(self) -> None:
        """Stop the thread that writes."""
        self._writer.close()


@dataclass(frozen=True, slots=True)
class _Key:
    """What identifies an event: its key, a digest of its content, and its key in version 0.1 if that differs."""

    key: str
    content: str = ""
    earlier: str = ""


def _new_events(events: Sequence[FeedbackEvent], owner: str, request_key: str | None) -> list[NewEvent]:
    now = time.time()
    positions = itertools.count()
    whole = _digest("request", *(_content(event) for event in events)) if request_key is not None else ""
    new = []
    for index, event in enumerate(events):
        # The latest of several events counts: a time in the future, from a wrong clock, would count forever.
        at = now if event.time is None else min(event.time.timestamp(), now)
        if event.idempotency_key is not None:
            key = _Key(
                _digest("owned event", owner, event.idempotency_key),
                _digest(_content(event)),
                _digest("event", event.idempotency_key),
            )
        elif request_key is not None:
            key = _Key(
                _digest("owned request", owner, request_key, str(next(positions))),
                whole,
                _digest("request", request_key, str(index)),
            )
        elif event.time is not None:
            key = _Key(_digest("content", *_values(event), event.time.isoformat()))
        else:
            key = _Key(uuid.uuid4().hex)
        new.append(
            NewEvent(
                event.user_id, event.item_id, event.kind, event.value, at, key.key,
                content=key.content, earlier_key=key.earlier,
            )
        )  # fmt: skip
    return new


def _content(event: FeedbackEvent) -> str:
    """Return a digest of everything that the client sent for an event."""
    moment = "" if event.time is None else repr(event.time.timestamp())
    return _digest(*_values(event), moment, event.idempotency_key or "")


def _values(event: FeedbackEvent) -> tuple[str, ...]:
    return event.user_id, event.item_id, event.kind, "" if event.value is None else repr(event.value)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

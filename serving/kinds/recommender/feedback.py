"""The handler of feedback: events are durable before they are acknowledged."""

from __future__ import annotations

import hashlib
import time
import uuid

from models.recommender.events import Event
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

    async def send(self, request: FeedbackRequest, *, request_key: str | None = None) -> Accepted:
        """Store events. `request_key` names the request as a whole: sent again, it is the same events.

        Raises FieldFault for too many of them, Overloaded and FeedbackUnavailable.
        """
        if len(request.events) > self.max_events:
            message = f"1 to {self.max_events} events may be sent at a time, not {len(request.events)}"
            raise FieldFault(message, location=("body", "events"), value_type="array")
        now = time.time()
        events = [_event(each, index, now, request_key) for index, each in enumerate(request.events)]
        is_new = await self._writer.write(events)
        accepted = sum(is_new)
        count_feedback(accepted, len(is_new) - accepted)
        return Accepted(accepted=accepted, duplicates=len(is_new) - accepted)

    def open(self) -> None:
        """Open the log in the background, so that the first client does not wait for it."""
        self._writer.open()

    def close(self) -> None:
        """Stop the thread that writes."""
        self._writer.close()


def _event(event: FeedbackEvent, index: int, now: float, request_key: str | None) -> Event:
    # The latest of several events counts: a time in the future, from a wrong clock, would count forever.
    at = now if event.time is None else min(event.time.timestamp(), now)
    return Event(event.user_id, event.item_id, event.kind, event.value, at, _key(event, index, request_key))


def _key(event: FeedbackEvent, index: int, request_key: str | None) -> str:
    """Return the key that equal events share: the given one, or content and time; without both a random one."""
    if event.idempotency_key is not None:
        named: tuple[str, ...] = ("event", event.idempotency_key)
    elif request_key is not None:
        named = ("request", request_key, str(index))
    elif event.time is not None:
        value = "" if event.value is None else repr(event.value)
        named = ("content", event.user_id, event.item_id, event.kind, value, event.time.isoformat())
    else:
        return uuid.uuid4().hex
    return hashlib.sha256("\0".join(named).encode("utf-8", "surrogatepass")).hexdigest()

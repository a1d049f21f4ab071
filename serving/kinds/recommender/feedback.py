"""Takes feedback: events become durable before they are acknowledged. Knows events and a writer, no HTTP, no SQL."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass

from serving.errors.exceptions import FieldFault
from serving.kinds.recommender.feedback_schemas import Accepted, FeedbackEvent, FeedbackRequest
from serving.kinds.recommender.feedback_writer import FeedbackWriter
from serving.kinds.served_models import Append
from serving.observability.metrics import service_metrics
from serving.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class _Event:
    user_id: str
    item_id: str
    kind: str
    value: float | None
    time: float
    key: str


class FeedbackHandler:
    """`send_feedback`."""

    def __init__(self, append: Append, settings: Settings) -> None:
        self.max_events = settings.max_feedback_events
        self._writer = FeedbackWriter(append)

    async def send(self, request: FeedbackRequest, *, request_key: str | None = None) -> Accepted:
        """Keep events. `request_key` names the request as a whole: sent again, it is the same events.

        Raises FieldFault for too many of them, Overloaded and FeedbackUnavailable.
        """
        if len(request.events) > self.max_events:
            message = f"1 to {self.max_events} events may be sent at a time, not {len(request.events)}"
            raise FieldFault(message, location=("body", "events"), value_type="array")
        now = time.time()
        events = [_event(each, index, now, request_key) for index, each in enumerate(request.events)]
        is_new = await self._writer.write(events)
        accepted = sum(is_new)
        service_metrics().count_feedback(accepted, len(is_new) - accepted)
        return Accepted(accepted=accepted, duplicates=len(is_new) - accepted)

    def open(self) -> None:
        """Begin to open the log, so that the first client does not wait for it."""
        self._writer.open()

    def close(self) -> None:
        """End the thread that writes."""
        self._writer.close()


def _event(event: FeedbackEvent, index: int, now: float, request_key: str | None) -> _Event:
    # Of several events the latest decides: one that a wrong clock dates ahead would decide for good.
    at = now if event.time is None else min(event.time.timestamp(), now)
    return _Event(event.user_id, event.item_id, event.kind, event.value, at, _key(event, index, request_key))


def _key(event: FeedbackEvent, index: int, request_key: str | None) -> str:
    """What makes two events the same: the key given, or what happened when; without either nothing does."""
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

"""A thread that follows the feedback log and adds new events to a `RecentEvents`."""

from __future__ import annotations

import logging
import threading
import time

from models.recommender.events import LoggedEvent
from models.recommender.feedback_log import FeedbackLog, LogTail
from models.recommender.online.recent_events import RecentEvents
from models.watch import Watch

log = logging.getLogger("makunouchi.feedback")

POLL_S = 0.2
_DAY_S = 86_400


class FeedbackListener:
    """A thread that polls the feedback log. When the log is unavailable, the known events remain in use."""

    def __init__(
        self, feedback: FeedbackLog, recent: RecentEvents, *, window_days: float, poll_s: float = POLL_S
    ) -> None:
        self._tail = LogTail(feedback)
        self.recent = recent
        self._window_days = window_days
        self._poll_s = poll_s
        self._stop = threading.Event()
        self._watch = Watch(
            "feedback_log", "read the feedback log", keeps="recommendations continue without new events", log=log
        )
        self._thread = threading.Thread(target=self._run, name="feedback", daemon=True)

    def start(self) -> FeedbackListener:
        """Read the existing events and start the thread."""
        self.poll()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join(5)

    def poll(self) -> int:
        """Add new events and return their number."""
        events: list[LoggedEvent] = []
        with self._watch.attempt():
            events = self._tail.read()
            since = time.time() - self._window_days * _DAY_S
            self.recent.add(event for event in events if event.received >= since)
        return len(events)

    def _run(self) -> None:
        while not self._stop.wait(self._poll_s):
            self.poll()

"""The thread that follows the feedback log: whatever a read raises, later events are read."""

from __future__ import annotations

import pytest

from models.errors import FeedbackUnavailable
from models.recommender.feedback_log import FeedbackLog
from models.recommender.online.feedback_listener import FeedbackListener
from models.recommender.online.recent_events import RecentEvents
from models.watch import failing
from tests.models.recommender.test_feedback_log import event, url  # noqa: F401  # a fixture


@pytest.mark.parametrize("error", [FeedbackUnavailable("the disk is full"), ValueError("content"), OSError(5, "I/O")])
def test_any_fault_of_a_read_is_reported_and_the_next_read_continues(
    error: Exception,
    url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = FeedbackLog(url)
    listener = FeedbackListener(log, RecentEvents(), window_days=1)
    with monkeypatch.context() as patched:

        def fail(*_: object, **__: object) -> None:
            raise error

        patched.setattr(log, "read", fail)
        assert [listener.poll() for _ in range(3)] == [0, 0, 0]
        assert caplog.text.count("cannot read the feedback log, recommendations continue without new events") == 1
        assert set(failing()) == {"feedback_log"}
    log.append([[event("a")]])
    assert listener.poll() == 1
    assert failing() == {}
    log.close()

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest

from models.errors import FeedbackUnavailable
from models.recommender.events import Event, LoggedEvent
from models.recommender.feedback_log import FeedbackLog, LogTail, sqlite_file


def event(key: str, *, user_id: str = "u", item_id: str = "i", value: float | None = None) -> Event:
    return Event(user_id, item_id, "view", value, 1.0, key)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/deep/feedback.db"


def test_an_event_is_stored_once_per_key(url: str) -> None:
    log = FeedbackLog(url, clock=lambda: 5.0)

    assert log.append([event("a"), event("a", item_id="other"), event("b", value=2.5)]) == [True, False, True]
    assert log.append([event("b"), event("c")]) == [False, True]

    events = log.read()
    assert [each.key for each in events] == ["a", "b", "c"]
    assert events[0] == LoggedEvent("u", "i", "view", None, 1.0, "a", 1, 5.0)
    assert events[1].value == 2.5
    log.close()


def test_another_log_reads_the_events(url: str) -> None:
    first, second = FeedbackLog(url), FeedbackLog(url)
    first.append([event("a")])

    assert [each.key for each in second.read_all()] == ["a"]
    first.close()
    second.close()


def test_the_file_is_synced_at_every_commit(url: str) -> None:
    log = FeedbackLog(url)
    log.append([event("a")])
    writer = log._open()[0]
    with writer.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    log.close()


def test_several_writers_of_the_same_keys_store_each_event_once(url: str) -> None:
    logs = [FeedbackLog(url) for _ in range(4)]
    new: list[int] = []

    def write(log: FeedbackLog) -> None:
        new.extend(sum(log.append([event(f"{turn}-{part}") for part in range(5)])) for turn in range(10))

    threads = [threading.Thread(target=write, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(new) == 50
    assert len(list(logs[0].read_all())) == 50
    for log in logs:
        log.close()


def test_reading_continues_after_the_last_event(url: str) -> None:
    log = FeedbackLog(url)
    tail = LogTail(log)
    assert tail.read() == []
    log.append([event("a"), event("b")])

    assert [each.key for each in tail.read()] == ["a", "b"]
    assert tail.read() == []
    log.append([event("c")])
    assert [each.key for each in tail.read()] == ["c"]
    log.close()


def test_an_event_that_becomes_visible_late_is_read_once(url: str, tmp_path: Path) -> None:
    class Shared(FeedbackLog):
        visibility_delay_s = 5.0  # as for a database with several writers

    now = 100.0
    log = Shared(url, clock=lambda: now)
    tail = LogTail(log, clock=lambda: now)
    log.append([event("a"), event("b"), event("c")])
    with sqlite3.connect(tmp_path / "deep" / "feedback.db") as database:
        row = database.execute("SELECT * FROM makunouchi_feedback WHERE position = 2").fetchone()
        database.execute("DELETE FROM makunouchi_feedback WHERE position = 2")
    assert [each.key for each in tail.read()] == ["a", "c"]
    with sqlite3.connect(tmp_path / "deep" / "feedback.db") as database:
        database.execute(f"INSERT INTO makunouchi_feedback VALUES ({','.join('?' * len(row))})", row)  # noqa: S608
    database.close()

    assert [each.key for each in tail.read()] == ["b"]
    now += 6
    assert tail.read() == []
    assert tail.read() == []
    log.close()


def test_more_events_than_one_read_takes(url: str) -> None:
    log = FeedbackLog(url)
    log.append([event(str(number)) for number in range(10_500)])
    assert len(LogTail(log).read()) == 10_500
    assert len(list(log.read_all())) == 10_500
    log.close()


@pytest.mark.parametrize("bad", ["sqlite:////proc/none/x.db", "nosuchdatabase://x", "no url"])
def test_a_database_that_cannot_be_opened_is_unavailable(bad: str) -> None:
    with pytest.raises(FeedbackUnavailable):
        FeedbackLog(bad).append([event("a")])
    with pytest.raises(FeedbackUnavailable):
        FeedbackLog(bad).read()


def test_the_file_of_a_url() -> None:
    assert sqlite_file("sqlite:////var/x.db") == Path("/var/x.db")
    assert sqlite_file("postgresql://host/db") is None
    assert sqlite_file("sqlite:///:memory:") is None


def test_an_error_names_the_reason_without_data_of_the_request(tmp_path: Path) -> None:
    log = FeedbackLog(f"sqlite:///{tmp_path / 'f.db'}")
    log.append([event("first")])
    log.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "f.db")) as file:
        file.execute("drop table makunouchi_feedback")
        file.execute("create view makunouchi_feedback as select 1 as position, 'x' as key")
    with pytest.raises(FeedbackUnavailable, match="could not be written: cannot modify makunouchi_feedback") as caught:
        log.append([event("secret")])
    assert "secret" not in str(caught.value)

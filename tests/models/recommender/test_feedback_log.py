from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.errors import FeedbackUnavailable
from models.recommender.events import LoggedEvent, NewEvent
from models.recommender.feedback_database import sqlite_file
from models.recommender.feedback_log import FeedbackLog, LogTail
from tests.database_harms import remove, remove_all, remove_log


def event(
    key: str,
    *,
    user_id: str = "u",
    item_id: str = "i",
    value: float | None = None,
    content: str = "",
    earlier_key: str = "",
) -> NewEvent:
    return NewEvent(user_id, item_id, "view", value, 1.0, key, content, earlier_key)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/deep/feedback.db"


def test_an_event_is_stored_once_per_key(url: str) -> None:
    log = FeedbackLog(url, clock=lambda: 5.0)

    assert log.append([[event("a"), event("a", item_id="other"), event("b", value=2.5)]]) == [[True, False, True]]
    assert log.append([[event("b")], [event("c"), event("b")]]) == [[False], [True, False]]

    events = log.read()
    assert [each.key for each in events] == ["a", "b", "c"]
    assert events[0] == LoggedEvent("u", "i", "view", None, 1.0, "a", 1, 5.0)
    assert events[1].value == 2.5
    log.close()


def test_a_request_with_other_content_under_a_known_key_writes_nothing(url: str) -> None:
    log = FeedbackLog(url)
    assert log.append([[event("a", content="first")]]) == [[True]]

    other = [event("b", content="b"), event("a", item_id="other", content="second")]
    assert log.append([other, [event("c", content="c")], [event("a", content="first")]]) == [None, [True], [False]]
    assert [each.key for each in log.read()] == ["a", "c"]
    twice = [event("d", content="one"), event("d", content="other")]
    assert log.append([twice, [event("d", content="other")]]) == [None, [True]]
    log.close()


def test_a_database_of_version_0_1_is_extended_and_its_events_remain_known(url: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "deep" / "feedback.db")) as database:
        database.execute(
            "CREATE TABLE makunouchi_feedback (position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "
            "key VARCHAR(64) NOT NULL, user_id VARCHAR(256) NOT NULL, item_id VARCHAR(256) NOT NULL, "
            "kind VARCHAR(32) NOT NULL, value DOUBLE, time DOUBLE NOT NULL, received DOUBLE NOT NULL, UNIQUE (key))"
        )
        database.execute("INSERT INTO makunouchi_feedback VALUES (1, 'old', 'u', 'i', 'view', NULL, 1.0, 5.0)")
        database.commit()
    logs = [FeedbackLog(url) for _ in range(2)]

    again = event("a's new", content="i", earlier_key="old")
    others = event("b's new", item_id="other", content="other", earlier_key="old")
    assert logs[0].append([[again], [others]]) == [[False], [True]]
    assert logs[1].append([[again], [others]]) == [[False], [False]]
    assert [each.key for each in logs[0].read_all()] == ["old", "b's new"]
    for log in logs:
        log.close()


def test_only_the_owner_can_read_the_file_its_log_and_its_folder(url: str, tmp_path: Path) -> None:
    with umask(0):
        log = FeedbackLog(url)
        log.append([[event("a")]])
    folder = tmp_path / "deep"
    files = {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}
    names = ("feedback.db", "feedback.db-newest", "feedback.db-shm", "feedback.db-wal")
    assert files == dict.fromkeys(names, "0o600")
    assert folder.stat().st_mode & 0o777 == 0o700
    log.close()


def test_a_file_that_others_can_read_is_restricted(tmp_path: Path) -> None:
    (tmp_path / "feedback.db").touch()
    (tmp_path / "feedback.db").chmod(0o644)
    log = FeedbackLog(f"sqlite:///{tmp_path}/feedback.db")
    log.append([[event("a")]])
    assert (tmp_path / "feedback.db").stat().st_mode & 0o777 == 0o600
    log.close()


def test_another_log_reads_the_events(url: str) -> None:
    first, second = FeedbackLog(url), FeedbackLog(url)
    first.append([[event("a")]])

    assert [each.key for each in second.read_all()] == ["a"]
    first.close()
    second.close()


def test_the_file_is_synced_at_every_commit(url: str) -> None:
    log = FeedbackLog(url)
    log.append([[event("a")]])
    writer = log._open()[0]
    with writer.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    log.close()


def test_several_writers_of_the_same_keys_store_each_event_once(url: str) -> None:
    logs = [FeedbackLog(url) for _ in range(4)]
    new: list[int] = []

    def write(log: FeedbackLog) -> None:
        new.extend(
            sum(outcome or ())
            for turn in range(10)
            for outcome in log.append([[event(f"{turn}-{part}") for part in range(5)]])
        )

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
    log.append([[event("a"), event("b")]])

    assert [each.key for each in tail.read()] == ["a", "b"]
    assert tail.read() == []
    log.append([[event("c")]])
    assert [each.key for each in tail.read()] == ["c"]
    log.close()


def test_an_event_that_becomes_visible_late_is_read_once(url: str, tmp_path: Path) -> None:
    class Shared(FeedbackLog):
        visibility_delay_s = 5.0  # as for a database with several writers

    now = 100.0
    log = Shared(url, clock=lambda: now)
    tail = LogTail(log, clock=lambda: now)
    log.append([[event("a"), event("b"), event("c")]])
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
    log.append([[event(str(number)) for number in range(10_500)]])
    assert len(LogTail(log).read()) == 10_500
    assert len(list(log.read_all())) == 10_500
    log.close()


@pytest.mark.parametrize("bad", ["sqlite:////proc/none/x.db", "nosuchdatabase://x", "no url"])
def test_a_database_that_cannot_be_opened_is_unavailable(bad: str) -> None:
    with pytest.raises(FeedbackUnavailable):
        FeedbackLog(bad).append([[event("a")]])
    with pytest.raises(FeedbackUnavailable):
        FeedbackLog(bad).read()


def test_the_file_of_a_url() -> None:
    assert sqlite_file("sqlite:////var/x.db") == Path("/var/x.db")
    assert sqlite_file("postgresql://host/db") is None
    assert sqlite_file("sqlite:///:memory:") is None


def test_an_error_names_the_reason_without_data_of_the_request(tmp_path: Path) -> None:
    log = FeedbackLog(f"sqlite:///{tmp_path / 'f.db'}")
    log.append([[event("first")]])
    log.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "f.db")) as file:
        file.execute("drop table makunouchi_feedback")
        file.execute(
            "create view makunouchi_feedback as select 1 as position, 'x' as key, 'u' as user_id, "
            "'i' as item_id, 'view' as kind, null as value, '' as content"
        )
    with pytest.raises(FeedbackUnavailable, match="could not be written: cannot modify makunouchi_feedback") as caught:
        log.append([[event("secret")]])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("harm", [remove, remove_all, remove_log], ids=lambda harm: harm.__name__)
def test_a_file_that_is_removed_while_it_is_open_keeps_every_event(
    url: str, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    log, other, file = FeedbackLog(url), FeedbackLog(url), sqlite_file(url)
    assert file is not None
    log.append([[event("a")]])
    tail = LogTail(other)
    assert [each.key for each in tail.read()] == ["a"]
    harm(file)

    assert log.append([[event("a"), event("b")]]) == [[False, True]]
    assert [each.key for each in FeedbackLog(url).read()] == ["a", "b"]
    assert [each.key for each in tail.read() if each.key != "a"] == ["b"]
    assert "while it was open; its content was kept" in caplog.text


def test_a_file_that_is_replaced_is_followed_from_its_start(url: str, tmp_path: Path) -> None:
    log, file = FeedbackLog(url), sqlite_file(url)
    assert file is not None
    log.append([[event("a"), event("b"), event("c")]])
    tail = LogTail(FeedbackLog(url))
    tail.read()
    new = FeedbackLog(f"sqlite:///{tmp_path}/new.db")
    new.append([[event("x")]])
    new.close()
    (tmp_path / "new.db").replace(file)

    assert log.append([[event("y")]]) == [[True]]
    assert [each.key for each in tail.read()] == ["x", "y"]


def test_events_written_into_a_file_that_was_lost_are_not_acknowledged(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, file = FeedbackLog(url), sqlite_file(url)
    assert file is not None
    log.append([[event("a")]])
    insert = FeedbackLog._insert

    def lose(*args: Any) -> Any:
        outcomes = insert(*args)
        file.unlink()
        file.write_bytes(b"")
        return outcomes

    monkeypatch.setattr(FeedbackLog, "_insert", lose)
    with pytest.raises(FeedbackUnavailable, match="replaced while it was written"):
        log.append([[event("b")]])
    monkeypatch.undo()

    assert log.append([[event("b")]]) == [[True]]

"""The feedback log on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.errors import FeedbackUnavailable
from models.recommender.feedback_log import FeedbackLog, LogTail
from tests.models.recommender.test_feedback_log import event
from tests.postgres_server import postgres

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres() as url:
        yield url


def test_concurrent_writers_store_an_event_once(url: str) -> None:
    """All writers also create the table concurrently."""
    logs = [FeedbackLog(url) for _ in range(4)]
    events = [event(f"together-{number}", value=1.5) for number in range(50)]
    with ThreadPoolExecutor(len(logs)) as pool:
        is_new = list(pool.map(lambda log: log.append([events])[0] or [], logs))
    assert [sum(column) for column in zip(*is_new, strict=True)] == [1] * len(events)
    stored = [each for each in logs[0].read_all() if each.key.startswith("together-")]
    assert sorted(each.key for each in stored) == sorted(event.key for event in events)
    assert {each.value for each in stored} == {1.5}
    for log in logs:
        log.close()


def test_a_tail_reads_each_event_once(url: str) -> None:
    log, other = FeedbackLog(url), FeedbackLog(url)
    tail = LogTail(other)
    tail.read()
    log.append([[event("tail-1")]])
    assert [each.key for each in tail.read()] == ["tail-1"]
    log.append([[event("tail-2"), event("tail-1")]])
    assert [each.key for each in tail.read()] == ["tail-2"]
    assert tail.read() == []
    log.close()
    other.close()


def test_a_table_of_version_0_1_is_extended_by_concurrent_processes() -> None:
    with postgres() as url:
        log = FeedbackLog(url)
        log.append([[event("old")]])
        with log._open()[0].begin() as connection:
            connection.exec_driver_sql("ALTER TABLE makunouchi_feedback DROP COLUMN content")
        logs = [FeedbackLog(url) for _ in range(4)]
        again, other = event("new", earlier_key="old", content="i"), event("other", content="i")
        with ThreadPoolExecutor(len(logs)) as pool:
            outcomes = list(pool.map(lambda log: log.append([[again], [other]]), logs))
        assert sum(is_new[0] for outcome in outcomes for is_new in outcome if is_new) == 1
        assert logs[0].append([[event("other", content="changed")]]) == [None]
        for each in (log, *logs):
            each.close()


def test_a_plain_postgresql_url_finds_the_installed_driver(url: str) -> None:
    log = FeedbackLog(url.replace("postgresql+psycopg://", "postgresql://"))
    assert log.append([[event("plain")]]) == [[True]]
    log.close()


def test_a_database_without_an_encoding_returns_text() -> None:
    with postgres(encoding="SQL_ASCII") as url:
        log = FeedbackLog(url)
        log.append([[event("plain", user_id="Zoë")]])
        assert [each.user_id for each in log.read()] == ["Zoë"]
        log.close()


def test_an_error_of_a_stopped_server_does_not_contain_the_password() -> None:
    with postgres() as url:
        log = FeedbackLog(url.replace("postgres@", "postgres:hunter2@"))
        log.append([[event("before")]])
    with pytest.raises(FeedbackUnavailable) as caught:
        log.append([[event("after")]])
    assert "hunter2" not in str(caught.value)
    log.close()


def test_a_missing_driver_is_reported() -> None:
    for url in ("mysql+nodriver://host/db", "mysql+pymysql://host/db"):
        with pytest.raises(FeedbackUnavailable, match="the driver of the feedback database is not installed"):
            FeedbackLog(url).append([[event("a")]])

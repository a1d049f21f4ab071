"""The watch of sources: it fetches at intervals, and a fault ends nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine

import pytest

from models import watch
from models.errors import SourceUnavailable
from serving.bento.source_watch import SourceWatch
from serving.settings.model_list import ModelEntry

CHURN = ModelEntry(name="churn", artifact="s3://models/churn?secret")
OTHER = ModelEntry(name="other", artifact="s3://models/churn?secret")
LOCAL = ModelEntry(name="shop", artifact="shop:latest")
AWAY = SourceUnavailable("source 's3://models/churn' cannot be reached")


def in_loop(run: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(asyncio.wait_for(run(), 30))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_sources_are_fetched_at_intervals_also_after_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    fetched: list[str] = []

    def fetch(entry: ModelEntry) -> None:
        fetched.append(entry.name)
        if len(fetched) in (2, 3):
            raise AWAY

    async def run() -> None:
        watch = SourceWatch(lambda: [CHURN, LOCAL], fetch, every_s=0.001)
        watch.start()
        await until(lambda: len(fetched) >= 6)
        await watch.stop()

    in_loop(run)
    assert set(fetched) == {"churn"}
    assert [record.levelname for record in caplog.records if record.levelname != "INFO"] == ["ERROR"]
    assert "cannot read the source 's3://models/churn' of churn, what is served stays" in caplog.text
    assert "secret" not in caplog.text


def test_models_of_one_source_have_their_own_faults_until_they_are_removed(caplog: pytest.LogCaptureFixture) -> None:
    """One that can be fetched does not end the fault of another, and one that is not served has none."""
    entries, fetched = [CHURN, OTHER], []

    def fetch(entry: ModelEntry) -> None:
        fetched.append(entry.name)
        if entry is OTHER:
            raise AWAY

    async def run() -> None:
        sources = SourceWatch(lambda: entries, fetch, every_s=0.001)
        sources.start()
        await until(lambda: fetched.count("churn") > 3 and fetched.count("other") > 3)
        assert "of other since" in watch.failing()["sources"]
        assert "of churn since" not in watch.failing()["sources"]
        entries.remove(OTHER)
        await until(lambda: not watch.failing())
        await sources.stop()

    in_loop(run)
    assert len(caplog.records) == 1


def test_a_source_that_does_not_answer_delays_no_other_and_not_the_end() -> None:
    fetched: list[str] = []
    over = threading.Event()

    def fetch(entry: ModelEntry) -> None:
        fetched.append(entry.name)
        if entry is OTHER:
            over.wait(30)

    async def run() -> None:
        sources = SourceWatch(lambda: [OTHER, CHURN], fetch, every_s=0.001)
        sources.start()
        await until(lambda: fetched.count("churn") > 3)
        assert fetched.count("other") == 1
        await sources.stop()

    in_loop(run)
    assert not over.is_set()
    over.set()


def test_without_an_interval_nothing_is_fetched() -> None:
    async def run() -> None:
        watch = SourceWatch(lambda: [CHURN], lambda entry: pytest.fail("fetched"), every_s=0)
        watch.start()
        await asyncio.sleep(0.02)
        await watch.stop()

    in_loop(run)

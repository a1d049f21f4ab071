"""The watch of sources: it fetches at intervals, and a fault ends nothing."""

from __future__ import annotations

import asyncio

import pytest

from models.errors import SourceUnavailable
from serving.bento.source_watch import SourceWatch
from serving.settings.model_list import ModelEntry

CHURN = ModelEntry(name="churn", artifact="s3://models/churn?secret")
LOCAL = ModelEntry(name="shop", artifact="shop:latest")


def test_sources_are_fetched_at_intervals_also_after_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    fetched: list[str] = []

    def fetch(entry: ModelEntry) -> None:
        fetched.append(entry.name)
        if len(fetched) in (2, 3):
            raise SourceUnavailable("source 's3://models/churn' cannot be reached")

    async def run() -> None:
        watch = SourceWatch(lambda: [CHURN, LOCAL], fetch, every_s=0.001)
        watch.start()
        while len(fetched) < 6:
            await asyncio.sleep(0.001)
        await watch.stop()

    asyncio.run(asyncio.wait_for(run(), 30))
    assert set(fetched) == {"churn"}
    assert [record.levelname for record in caplog.records if record.levelname != "INFO"] == ["ERROR"]
    assert "cannot read source 's3://models/churn', the served version stays" in caplog.text
    assert "secret" not in caplog.text


def test_without_an_interval_nothing_is_fetched() -> None:
    async def run() -> None:
        watch = SourceWatch(lambda: [CHURN], lambda entry: pytest.fail("fetched"), every_s=0)
        watch.start()
        await asyncio.sleep(0.02)
        await watch.stop()

    asyncio.run(run())

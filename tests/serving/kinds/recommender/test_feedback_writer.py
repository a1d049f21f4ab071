"""Tests of the feedback writer: waiting events share a transaction, and each request gets its own result."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from models.errors import FeedbackUnavailable, Overloaded
from models.recommender.events import NewEvent
from serving.context import set_caller
from serving.errors.exceptions import CallerLimitReached, KeyReused
from serving.kinds.recommender.feedback_writer import MAX_COMMIT, FeedbackWriter


def seen(key: str) -> NewEvent:
    return NewEvent("u", "i", "view", None, 0.0, key)


class Store:
    """A log whose writes wait for an event."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []
        self.let = threading.Event()
        self.let.set()
        self.error: Exception | None = None

    def append(self, requests: Sequence[Sequence[NewEvent]]) -> list[list[bool] | None]:
        self.let.wait(120)
        if self.error:
            raise self.error
        self.commits.append([event.key for events in requests for event in events])
        return [
            None if events[0].key == "reused" else [not event.key.startswith("old") for event in events]
            for events in requests
        ]


def test_waiting_events_share_a_transaction() -> None:
    store = Store()

    async def run() -> list[list[bool]]:
        writer = FeedbackWriter(store.append)
        store.let.clear()
        writes = [asyncio.create_task(writer.write([seen(f"a{n}"), seen(f"old{n}")])) for n in range(10)]
        await asyncio.sleep(0.05)
        store.let.set()
        answers = await asyncio.gather(*writes)
        writer.close()
        return answers

    assert asyncio.run(run()) == [[True, False]] * 10
    assert [key for commit in store.commits for key in commit if key.startswith("a")] == [f"a{n}" for n in range(10)]
    assert len(store.commits) <= 2


def test_failed_commit_affects_only_its_requests() -> None:
    store = Store()

    async def run() -> list[bool]:
        writer = FeedbackWriter(store.append)
        store.error = FeedbackUnavailable("gone")
        with pytest.raises(FeedbackUnavailable):
            await writer.write([seen("a")])
        store.error = None
        answer = await writer.write([seen("b")])
        writer.close()
        return answer

    assert asyncio.run(run()) == [True]
    assert store.commits == [["b"]]


def test_a_reused_key_affects_only_its_request() -> None:
    store = Store()

    async def run() -> list[list[bool] | BaseException]:
        writer = FeedbackWriter(store.append)
        store.let.clear()
        writes = [asyncio.create_task(writer.write([seen(key)])) for key in ("first", "a", "reused", "b")]
        await asyncio.sleep(0.02)
        store.let.set()
        answers = await asyncio.gather(*writes, return_exceptions=True)
        writer.close()
        return answers

    *answers, last = asyncio.run(run())
    assert isinstance(answers.pop(2), KeyReused)
    assert [*answers, last] == [[True]] * 3


def test_requests_beyond_the_queue_limit_are_refused() -> None:
    store = Store()

    async def run() -> None:
        writer = FeedbackWriter(store.append, max_waiting=3)
        with pytest.raises(Overloaded):
            await writer.write([seen(str(n)) for n in range(4)])
        assert await writer.write([seen("a")]) == [True]
        writer.close()

    asyncio.run(run())
    assert store.commits == [["a"]]


def test_events_of_one_caller_leave_places_for_others_until_they_are_written() -> None:
    store = Store()

    async def run() -> None:
        writer = FeedbackWriter(store.append, max_waiting=8)

        async def write(caller: str, *keys: str) -> list[bool]:
            set_caller(lambda: caller)
            return await writer.write([seen(key) for key in keys])

        store.let.clear()
        first = asyncio.create_task(write("key:ann", "0"))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(write("key:ann", "1", "2", "3", "4"))
        await asyncio.sleep(0)
        # Its client has left, and the events still wait.
        waiting.cancel()
        with pytest.raises(CallerLimitReached, match="you use 4 of the 8 places for events of feedback"):
            await write("key:ann", "5")
        other = asyncio.create_task(write("key:bob", "6", "7"))
        await asyncio.sleep(0)
        store.let.set()
        assert await other == [True, True]
        assert await write("key:ann", "8") == [True]
        await first
        writer.close()

    asyncio.run(run())


def test_cancelled_request_does_not_affect_others() -> None:
    store = Store()

    async def run() -> list[bool]:
        writer = FeedbackWriter(store.append)
        store.let.clear()
        gone = asyncio.create_task(writer.write([seen("gone")]))
        stays = asyncio.create_task(writer.write([seen("stays")]))
        await asyncio.sleep(0.02)
        gone.cancel()
        store.let.set()
        answer = await stays
        writer.close()
        return answer

    assert asyncio.run(run()) == [True]
    assert sorted(key for commit in store.commits for key in commit) == ["gone", "stays"]


def test_commit_has_a_size_limit() -> None:
    store = Store()

    async def run() -> None:
        writer = FeedbackWriter(store.append)
        store.let.clear()
        writes = [writer.write([seen(f"{n}-{m}") for m in range(1000)]) for n in range(8)]
        task = asyncio.gather(*writes)
        await asyncio.sleep(0.02)
        store.let.set()
        await task
        writer.close()

    asyncio.run(run())
    assert max(len(commit) for commit in store.commits) <= MAX_COMMIT
    assert sum(len(commit) for commit in store.commits) == 8000

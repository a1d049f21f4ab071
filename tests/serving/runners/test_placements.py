"""The same behaviour wherever the runner runs: in the gateway's process, behind a unix socket, behind TCP."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import (
    ArtifactError,
    ArtifactMissing,
    DeadlineExceeded,
    InvalidInput,
    Overloaded,
    PredictionFailed,
    RunnerUnavailable,
    VersionNotLoaded,
)
from serving.runners.batching import BatchLimits
from serving.runners.client.local import LocalClient, LocalRunner, host
from serving.runners.client.remote import RemoteClient, RemoteRunner
from serving.runners.handle import RunnerHandle
from serving.runners.host.models import HostedModels
from serving.runners.interface import ModelRef, RunnerResponse
from tests.serving.event_loop import in_loop, until
from tests.serving.runners.runner_servers import RunnerServer, listening, warm
from tests.serving.runners.sum_predictors import MODEL_WORDS, NAN, RAISE, REFUSE, SHORT, WAIT, EchoRunner, SumsRunner

pytestmark = pytest.mark.slow

PLACEMENTS = ["inline", "process", "url"]
everywhere = pytest.mark.parametrize("placement", PLACEMENTS)


@contextlib.asynccontextmanager
async def connected(placement: str, folder: Path, connection: Any, runner: Any, method: str) -> AsyncIterator[Any]:
    """`connection` started on `runner`, placed so."""
    async with contextlib.AsyncExitStack() as stack:
        if placement == "inline":
            connection.start(
                LocalClient(
                    LocalRunner(lambda: HostedModels.of(host(runner, [method], name="runner", threads=1))),
                    method=method, on_state=connection.on_state,
                )
            )  # fmt: skip
        else:
            where = {"uds": str(folder / "runner.sock")} if placement == "process" else {"port": 0}
            url = await stack.enter_async_context(listening(RunnerServer(await warm(runner, method)), **where))
            process = RemoteRunner(url, name="runner")
            connection.start(RemoteClient(process, method=method, on_state=connection.on_state))
        stack.push_async_callback(connection.stop)
        assert (await connection.status(timeout_s=60)).ready
        yield connection


def row(first: float, rows: int = 1) -> NDArray[np.float32]:
    return np.full((rows, 3), first, np.float32)


def soon(seconds: float = 100.0) -> float:
    return time.monotonic() + seconds


@everywhere
@in_loop
async def test_rows_are_answered_with_the_version_that_answered(placement: str, tmp_path: Path) -> None:
    async with connected(placement, tmp_path, RunnerHandle("r", BatchLimits()), SumsRunner(), "predict") as runner:
        answer = await runner.predict(row(2, rows=3), deadline=soon())
        assert answer.values.tolist() == [[6], [6], [6]]
        assert answer.values.dtype == np.float32
        assert answer.model == ModelRef("sums", "v1")
        assert runner.last_status.model == ModelRef("sums", "v1")


@everywhere
@in_loop
async def test_queries_are_answered_in_order(placement: str, tmp_path: Path) -> None:
    async with connected(
        placement, tmp_path, RunnerHandle("q", BatchLimits(), method="ask"), EchoRunner(), "ask"
    ) as runner:
        requests = [runner.predict([{"n": n}, {"m": n}], deadline=soon()) for n in range(20)]
        for number, answer in enumerate(await asyncio.gather(*requests)):
            assert answer.values == [{"heard": {"n": number}}, {"heard": {"m": number}}]
        results = await asyncio.gather(
            runner.predict([{"n": 1}], deadline=soon()),
            runner.predict([{"bad": True}], deadline=soon()),
            runner.predict([{"n": 2}], deadline=soon()),
            return_exceptions=True,
        )
        assert isinstance(results[1], PredictionFailed)
        assert type(results[0]) is type(results[2]) is RunnerResponse


@everywhere
@in_loop
async def test_many_callers_get_their_own_answers(placement: str, tmp_path: Path) -> None:
    async with connected(placement, tmp_path, RunnerHandle("r", BatchLimits()), SumsRunner(), "predict") as runner:

        async def one(number: int) -> None:
            answer = await runner.predict(row(number, rows=1 + number % 3), deadline=soon())
            assert answer.values.tolist() == [[3 * number]] * (1 + number % 3)

        for _ in range(5):
            await asyncio.gather(*(one(number) for number in range(64)))


@everywhere
@in_loop
async def test_shapes_that_differ_do_not_spoil_each_other(placement: str, tmp_path: Path) -> None:
    async with connected(placement, tmp_path, RunnerHandle("r", BatchLimits()), SumsRunner(), "predict") as runner:
        requests = [runner.predict(np.ones((1, columns), np.float32), deadline=soon()) for columns in (3, 5, 3, 7, 5)]
        results = [answer.values[0, 0] for answer in await asyncio.gather(*requests)]
        assert results == [3, 5, 3, 7, 5]


@everywhere
@pytest.mark.parametrize(("first", "error"), [(RAISE, PredictionFailed), (SHORT, PredictionFailed),
                                              (NAN, PredictionFailed), (REFUSE, InvalidInput)])  # fmt: skip
def test_a_bad_request_fails_alone(placement: str, first: float, error: type[Exception], tmp_path: Path) -> None:
    @in_loop
    async def test() -> None:
        async with connected(placement, tmp_path, RunnerHandle("r", BatchLimits()), SumsRunner(), "predict") as runner:
            requests = [runner.predict(row(each), deadline=soon()) for each in (1, 2, first, 3, 4)]
            results: list[Any] = await asyncio.gather(*requests, return_exceptions=True)
            assert isinstance(results[2], error)
            assert MODEL_WORDS not in str(results[2])
            assert [results[index].values[0, 0] for index in (0, 1, 3, 4)] == [3, 6, 9, 12]

    test()


@everywhere
@in_loop
async def test_a_full_queue_refuses_at_once_and_recovers(placement: str, tmp_path: Path) -> None:
    instance = SumsRunner()
    limits = BatchLimits(max_queue_rows=2)
    async with connected(placement, tmp_path, RunnerHandle("r", limits), instance, "predict") as runner:
        hung = asyncio.create_task(runner.predict(row(WAIT), deadline=soon()))
        await until(lambda: len(instance.model.predictor.calls) > 0 and runner._queue.in_flight == 1)
        waiting = [asyncio.create_task(runner.predict(row(1), deadline=soon())) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded):
            await runner.predict(row(1), deadline=soon())
        instance.model.predictor.gate.set()
        await asyncio.gather(hung, *waiting)
        assert (await runner.predict(row(1), deadline=soon())).values[0, 0] == 3


@everywhere
@in_loop
async def test_no_request_waits_beyond_its_deadline(placement: str, tmp_path: Path) -> None:
    instance = SumsRunner()
    async with connected(placement, tmp_path, RunnerHandle("r", BatchLimits()), instance, "predict") as runner:
        started = time.monotonic()
        requests = [runner.predict(row(each), deadline=soon(0.2)) for each in (WAIT, 1, 2)]
        results = await asyncio.gather(*requests, return_exceptions=True)
        assert all(isinstance(each, DeadlineExceeded) for each in results)
        assert time.monotonic() - started < 60
        instance.model.predictor.gate.set()
        assert (await runner.predict(row(1), deadline=soon())).values[0, 0] == 3


@everywhere
@in_loop
async def test_another_version_takes_over_under_load(placement: str, tmp_path: Path) -> None:
    async with connected(placement, tmp_path, RunnerHandle("r", BatchLimits()), SumsRunner(), "predict") as runner:
        seen: set[str] = set()
        stop = False

        async def ask() -> None:
            while not stop:
                answer = await runner.predict(row(1), deadline=soon())
                assert answer.values[0, 0] == 3
                seen.add(answer.model.version)
                await asyncio.sleep(0)

        asking = [asyncio.create_task(ask()) for _ in range(8)]
        await until(lambda: seen)
        assert await runner.reload("slow") == ModelRef("sums", "slow")
        for number in range(2, 6):
            assert (await runner.reload(f"v{number}")).version == f"v{number}"
            assert (await runner.predict(row(1), deadline=soon())).model.version == f"v{number}"
        stop = True
        await asyncio.gather(*asking)
        assert "v1" in seen
        assert runner.last_status.model.version == "v5"


@everywhere
@pytest.mark.parametrize(("version", "error"), [("missing", ArtifactMissing), ("broken", ArtifactError)])
def test_a_version_that_fails_leaves_the_old_one_and_says_why(
    placement: str, version: str, error: type[Exception], tmp_path: Path
) -> None:
    @in_loop
    async def test() -> None:
        async with connected(placement, tmp_path, RunnerHandle("r", BatchLimits()), SumsRunner(), "predict") as runner:
            with pytest.raises(error, match=version) as raised:
                await runner.reload(version)
            assert MODEL_WORDS not in str(raised.value)
            assert (await runner.predict(row(1), deadline=soon())).model.version == "v1"

    test()


@everywhere
@in_loop
async def test_several_versions_answer_side_by_side_and_no_batch_mixes_them(placement: str, tmp_path: Path) -> None:
    instance = SumsRunner()
    async with connected(placement, tmp_path, RunnerHandle("r", BatchLimits()), instance, "predict") as runner:
        assert await runner.hold(["v2", "v3"]) == ("v2", "v3")
        assert runner.last_status.versions == ("v2", "v3")
        wanted = ["", "v1", "v2", "v3", "v2", "", "v3"] * 10
        results = await asyncio.gather(
            *(runner.predict(row(n), deadline=soon(), version=v) for n, v in enumerate(wanted))
        )
        assert [answer.model.version for answer in results] == [version or "v1" for version in wanted]
        assert [answer.values[0, 0] for answer in results] == [3 * n for n in range(len(wanted))]
        # Rows of each version reached it and no other: one of the warm-up, and its own.
        assert {model.version: sum(model.calls) for model in instance.loaded if model.version != "v1"} == {
            "v2": 1 + 20, "v3": 1 + 20,
        }  # fmt: skip


@everywhere
@in_loop
async def test_a_version_that_is_not_held_is_refused_and_one_that_fails_changes_nothing(
    placement: str, tmp_path: Path
) -> None:
    async with connected(placement, tmp_path, RunnerHandle("r", BatchLimits()), SumsRunner(), "predict") as runner:
        await runner.hold(["v2"])
        with pytest.raises(VersionNotLoaded):
            await runner.predict(row(1), deadline=soon(), version="v3")
        with pytest.raises(ArtifactMissing, match="missing"):
            await runner.hold(["v3", "missing"])
        with pytest.raises(ArtifactError) as raised:
            await runner.hold(["broken"])
        assert MODEL_WORDS not in str(raised.value)
        assert (await runner.predict(row(1), deadline=soon(), version="v2")).model.version == "v2"
        assert (await runner.predict(row(1), deadline=soon())).model.version == "v1"
        assert runner.last_status.versions == ("v2",)


@everywhere
@in_loop
async def test_low_priority_calls_delay_no_other_and_are_refused_early(placement: str, tmp_path: Path) -> None:
    instance = SumsRunner()
    limits = BatchLimits(max_batch_rows=2)
    async with connected(placement, tmp_path, RunnerHandle("r", limits), instance, "predict") as runner:
        await runner.hold(["v2"])
        hung = [
            asyncio.create_task(runner.predict(row(WAIT), deadline=soon(), version="v2", is_low_priority=True))
            for _ in range(3)
        ]
        await until(lambda: len(instance.loaded[-1].calls) == 2)
        with pytest.raises(Overloaded):
            await runner.predict(row(1), deadline=soon(), version="v2", is_low_priority=True)
        for _ in range(20):
            assert (await runner.predict(row(1), deadline=soon())).model.version == "v1"
        assert not any(task.done() for task in hung)
        instance.loaded[-1].gate.set()
        assert {answer.model.version for answer in await asyncio.gather(*hung)} == {"v2"}


@in_loop
async def test_before_its_start_a_runner_is_unavailable() -> None:
    runner = RunnerHandle("r", BatchLimits())
    assert not (await runner.status(timeout_s=1)).ready
    with pytest.raises(RunnerUnavailable):
        await runner.predict(row(1), deadline=soon())
    with pytest.raises(RunnerUnavailable):
        await runner.reload("v1")


@everywhere
@in_loop
async def test_a_runner_that_fails_its_warm_up_is_not_ready(placement: str, tmp_path: Path) -> None:
    class Unwell(SumsRunner):
        def call(self, rows: NDArray[np.float32]) -> Any:
            raise ValueError(MODEL_WORDS)

    connection = RunnerHandle("r", BatchLimits())
    with pytest.raises(AssertionError):
        async with connected(placement, tmp_path, connection, Unwell(), "predict"):
            pass
    with pytest.raises(RunnerUnavailable):
        await connection.predict(row(1), deadline=soon())

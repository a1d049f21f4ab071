"""Several processes of one runner: the least loaded one answers, a lost call is repeated, changes reach all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.errors import ArtifactMissing, RunnerUnavailable
from serving.runners.batching import BatchLimits
from serving.runners.client.remote import RemoteRunner
from serving.runners.client.replicas import ReplicatedClient, ReplicatedRunner
from serving.runners.handle import RunnerHandle
from serving.runners.interface import ModelRef, Replicas
from tests.serving.event_loop import in_loop, until
from tests.serving.runners.runner_servers import RunnerServer, listening, warm
from tests.serving.runners.sum_predictors import WAIT, SumsRunner
from tests.serving.runners.test_placements import row, soon

pytestmark = pytest.mark.slow


@dataclass
class Process:
    """One process of the runner, in this one."""

    instance: SumsRunner
    server: RunnerServer
    stack: contextlib.AsyncExitStack

    @property
    def calls(self) -> int:
        """The number of calls to the default version after its warm-up and examples."""
        return self.server.requests.count("/runner/predict")

    async def stop(self) -> None:
        self.server.cut_connections()
        await self.stack.aclose()


@contextlib.asynccontextmanager
async def replicated(folder: Path, number: int = 2) -> AsyncIterator[tuple[RunnerHandle, list[Process]]]:
    processes: list[Process] = []
    async with contextlib.AsyncExitStack() as stack:
        for index in range(number):
            own = await stack.enter_async_context(contextlib.AsyncExitStack())
            instance = SumsRunner()
            server = RunnerServer(await warm(instance, "predict"))
            await own.enter_async_context(listening(server, uds=str(folder / str(index))))
            processes.append(Process(instance, server, own))
        handle = RunnerHandle("r", BatchLimits(calls_in_flight=number))
        runners = [RemoteRunner((folder / str(index)).as_uri(), name=f"r{index}") for index in range(number)]
        handle.start(ReplicatedClient(ReplicatedRunner(runners), method="predict", on_state=handle.on_state))
        stack.push_async_callback(handle.stop)
        await until(lambda: handle.last_status.replicas == Replicas(number, number))
        yield handle, processes


@in_loop
async def test_a_call_goes_to_the_process_with_the_fewest_rows_in_flight(tmp_path: Path) -> None:
    async with replicated(tmp_path) as (handle, processes):
        before = [process.calls for process in processes]
        for _ in range(10):
            await handle.predict(row(1), deadline=soon())
        # Idle processes take turns.
        assert [process.calls - calls for process, calls in zip(processes, before, strict=True)] == [5, 5]
        hung = asyncio.create_task(handle.predict(row(WAIT), deadline=soon()))
        await until(lambda: sum(process.calls for process in processes) == sum(before) + 11)
        busy = max(processes, key=lambda process: process.calls)
        (free,) = [process for process in processes if process is not busy]
        calls = busy.calls
        for _ in range(10):
            assert (await handle.predict(row(1), deadline=soon())).values[0, 0] == 3
        assert busy.calls == calls
        assert free.calls >= 15
        busy.instance.model.predictor.gate.set()
        await hung


@in_loop
async def test_a_lost_process_costs_no_call_and_is_named(tmp_path: Path) -> None:
    async with replicated(tmp_path) as (handle, processes):
        stop, answered = False, 0

        async def ask() -> None:
            nonlocal answered
            while not stop:
                assert (await handle.predict(row(2), deadline=soon())).values[0, 0] == 6
                answered += 1
                await asyncio.sleep(0)

        asking = [asyncio.create_task(ask()) for _ in range(8)]
        await until(lambda: answered > 50)
        await processes[0].stop()
        seen = answered
        await until(lambda: answered > seen + 200 or any(task.done() for task in asking))
        stop = True
        await asyncio.gather(*asking)
        await until(lambda: handle.last_status.replicas == Replicas(1, 2))
        assert handle.last_status.ready
        await processes[1].stop()
        await until(lambda: not handle.last_status.ready)
        assert handle.last_status.replicas == Replicas(0, 2)
        with pytest.raises(RunnerUnavailable):
            await handle.predict(row(1), deadline=soon())


@in_loop
async def test_changes_reach_every_process(tmp_path: Path) -> None:
    async with replicated(tmp_path, 3) as (handle, processes):
        assert await handle.hold(["v2"]) == ("v2",)
        assert handle.last_status.versions == ("v2",)
        assert await handle.reload("v3") == ModelRef("sums", "v3")
        assert handle.last_status.model == ModelRef("sums", "v3")
        for _ in range(9):
            assert (await handle.predict(row(1), deadline=soon(), version="v2")).model.version == "v2"
            assert (await handle.predict(row(1), deadline=soon())).model.version == "v3"
        assert {process.instance.model.model.version for process in processes} == {"v3"}
        with pytest.raises(ArtifactMissing):
            await handle.reload("missing")
        assert {process.instance.model.model.version for process in processes} == {"v3"}


@in_loop
async def test_a_process_that_cannot_change_leaves_none_changed(tmp_path: Path) -> None:
    async with replicated(tmp_path) as (handle, processes):
        load = processes[0].instance.load

        def load_or_fail(version: str | None) -> object:
            return load("missing" if version == "v2" else version)

        processes[0].instance.model._load = load_or_fail  # type: ignore[assignment]
        with pytest.raises(ArtifactMissing):
            await handle.reload("v2")
        assert {process.instance.model.model.version for process in processes} == {"v1"}


@in_loop
async def test_calls_that_name_a_version_go_to_a_process_that_holds_it(tmp_path: Path) -> None:
    async with replicated(tmp_path) as (handle, processes):
        await asyncio.to_thread(processes[1].instance.model.hold, ["v2"])
        client = handle._client
        assert isinstance(client, ReplicatedClient)
        await until(lambda: client._clients[1].last_status.versions == ("v2",))
        for _ in range(6):
            assert (await handle.predict(row(1), deadline=soon(), version="v2")).model.version == "v2"

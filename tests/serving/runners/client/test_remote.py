"""The client of a remote runner: lost connections, dead and hung runners, invalid requests."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from models.errors import DeadlineExceeded, RunnerUnavailable
from serving.runners.batching import BatchLimits
from serving.runners.client import timing
from serving.runners.client.connection import Address, open_connection
from serving.runners.client.pool import ConnectionPool
from serving.runners.client.remote import RemoteClient, RemoteRunner
from serving.runners.handle import RunnerHandle
from serving.runners.wire import MEDIA_TYPE
from tests.serving.event_loop import in_loop, until
from tests.serving.runners.blocking_runner import settle
from tests.serving.runners.runner_servers import RunnerServer, listening, warm
from tests.serving.runners.sum_predictors import RAISE, WAIT, SumsRunner
from tests.serving.runners.test_placements import row, soon

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]


@contextlib.asynccontextmanager
async def connected_handle(
    path: Path, *, connections: int = 1, limits: BatchLimits | None = None, wait: bool = True
) -> AsyncIterator[RunnerHandle]:
    runner = RunnerHandle("r", limits or BatchLimits(calls_in_flight=connections))
    process = RemoteRunner(path.as_uri(), name="r", connections=connections)
    client = RemoteClient(process, method="predict", on_state=runner.on_state)
    runner.start(client)
    try:
        if wait:
            # On a machine under load the first check may take too long.
            await until(lambda: runner.last_status.ready)
        yield runner
    finally:
        await runner.stop()


@in_loop
async def test_a_lost_connection_costs_no_call(tmp_path: Path) -> None:
    instance = SumsRunner()
    server = RunnerServer(await warm(instance, "predict"))
    async with listening(server, uds=str(tmp_path / "s")), connected_handle(tmp_path / "s") as runner:
        instance.model.predictor.gate.clear()
        hung = asyncio.create_task(runner.predict(row(WAIT), deadline=soon()))
        await until(lambda: server.calls == 2)
        server.cut_connections()
        await until(lambda: server.calls == 3 or hung.done() or server.requests.count("/runner/predict") >= 3)
        instance.model.predictor.gate.set()
        assert (await hung).values[0, 0] == 3 * WAIT
        # The call is repeated at most once.
        assert server.requests.count("/runner/predict") <= 4


@in_loop
async def test_connections_are_kept_and_used_again(tmp_path: Path) -> None:
    server = RunnerServer(await warm(SumsRunner(), "predict"))
    async with listening(server, uds=str(tmp_path / "s")), connected_handle(tmp_path / "s", connections=2) as runner:
        for _ in range(30):
            await asyncio.gather(*(runner.predict(row(1), deadline=soon()) for _ in range(4)))
        assert server.server is not None
        assert len(server.server.server_state.connections) <= 4


@in_loop
async def test_an_idle_client_keeps_its_connections_warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PING_EVERY_S", 0.02)
    server = RunnerServer(await warm(SumsRunner(), "predict"))
    async with listening(server, uds=str(tmp_path / "s")), connected_handle(tmp_path / "s", connections=2):
        await until(lambda: server.requests.count("/runner/status") > 20)
        assert server.server is not None
        # Two for calls, and the session.
        assert len(server.server.server_state.connections) == 3


@in_loop
async def test_a_model_that_fails_its_example_is_not_ready_until_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "PING_EVERY_S", 0.02)
    monkeypatch.setattr(timing, "EXAMPLE_EVERY_S", 0.05)
    instance = SumsRunner()
    model = instance.model.predictor
    async with (
        listening(RunnerServer(await warm(instance, "predict")), uds=str(tmp_path / "s")),
        connected_handle(tmp_path / "s") as runner,
    ):
        predict = model.predict
        model.predict = lambda rows: predict(np.full_like(rows, RAISE))  # type: ignore[method-assign]
        await until(lambda: not runner.last_status.ready)
        assert "example" in runner.last_status.detail or "could not answer" in runner.last_status.detail
        model.predict = predict  # type: ignore[method-assign]
        await until(lambda: runner.last_status.ready)
        assert (await runner.predict(row(1), deadline=soon())).values[0, 0] == 3


@in_loop
async def test_a_busy_model_stays_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PING_EVERY_S", 0.02)
    monkeypatch.setattr(timing, "EXAMPLE_EVERY_S", 0.05)
    monkeypatch.setattr(timing, "EXAMPLE_TIMEOUT_S", 0.3)
    instance = SumsRunner()
    server = RunnerServer(await warm(instance, "predict"))
    async with listening(server, uds=str(tmp_path / "s")), connected_handle(tmp_path / "s") as runner:
        instance.model.predictor.gate.clear()
        held = asyncio.create_task(runner.predict(row(WAIT), deadline=soon()))
        tried = server.requests.count("/runner/example")
        await until(lambda: server.requests.count("/runner/example") > tried + 2)
        assert runner.last_status.ready
        instance.model.predictor.gate.set()
        assert (await held).values[0, 0] == 3 * WAIT


@in_loop
async def test_a_missing_runner_fails_quickly_and_recovers_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with connected_handle(path, wait=False) as runner:
        assert not (await runner.status(timeout_s=60)).ready
        with pytest.raises(RunnerUnavailable):
            await runner.predict(row(1), deadline=soon())
        async with listening(RunnerServer(await warm(SumsRunner(), "predict")), uds=str(path)):
            await until(lambda: runner.last_status.ready)
            assert (await runner.predict(row(1), deadline=soon())).values[0, 0] == 3
        await until(lambda: not runner.last_status.ready)
        path.unlink(missing_ok=True)
        async with listening(RunnerServer(await warm(SumsRunner(), "predict")), uds=str(path)):
            await until(lambda: runner.last_status.ready)
            assert (await runner.predict(row(1), deadline=soon())).values[0, 0] == 3


@in_loop
async def test_a_socket_that_accepts_and_never_answers_does_not_hang_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After a runner was killed, the process that started it still holds its socket open.
    path = tmp_path / "s"
    server = RunnerServer(await warm(SumsRunner(), "predict"))
    async with contextlib.AsyncExitStack() as stack:
        runner = None
        async with listening(server, uds=str(path)):
            runner = await stack.enter_async_context(connected_handle(path))
            held = socket.socket(socket.AF_UNIX)
            stack.callback(held.close)
            path.unlink()
            held.bind(str(path))
            held.listen(100)
            monkeypatch.setattr(timing, "CONNECT_TIMEOUT_S", 0.5)
            server.cut_connections()
            # Long before their deadline, and with another error.
            results = await asyncio.gather(
                *(runner.predict(row(1), deadline=soon()) for _ in range(20)), return_exceptions=True
            )
            assert all(isinstance(each, RunnerUnavailable) for each in results)
            # The runner is known to be down: no call waits.
            monkeypatch.setattr(timing, "CONNECT_TIMEOUT_S", 30.0)
            refused = asyncio.create_task(runner.predict(row(1), deadline=soon()))
            await settle()
            assert refused.done()
            assert isinstance(refused.exception(), RunnerUnavailable)
            assert not runner.last_status.ready


@in_loop
async def test_a_hung_runner_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PING_EVERY_S", 0.05)
    monkeypatch.setattr(timing, "PING_TIMEOUT_S", 0.2)
    monkeypatch.setattr(timing, "RECOVERY_TIMEOUT_S", 0.2)
    async with stoppable(tmp_path) as (process, path), connected_handle(path) as runner:
        process.send_signal(signal.SIGSTOP)
        hung = asyncio.create_task(runner.predict(row(1), deadline=soon(1.5)))
        await until(lambda: not runner.last_status.ready)
        # A call in flight waits until its deadline; a new one is refused immediately.
        with pytest.raises(RunnerUnavailable):
            await runner.predict(row(1), deadline=soon())
        with pytest.raises((DeadlineExceeded, RunnerUnavailable)):
            await hung
        monkeypatch.setattr(timing, "PING_TIMEOUT_S", 30.0)
        process.send_signal(signal.SIGCONT)
        await until(lambda: runner.last_status.ready)
        assert (await runner.predict(row(1), deadline=soon())).values[0, 0] == 3


@in_loop
@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
async def test_a_runner_that_no_longer_listens_still_answers_its_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_busy: bool
) -> None:
    # At the end of `bentoml serve` the sockets are removed at once, and the gateway finishes its requests.
    monkeypatch.setattr(timing, "PING_EVERY_S", 0.01)
    monkeypatch.setattr(timing, "EXAMPLE_EVERY_S", 0.05)
    # More calls at a time than the connections that are kept.
    limits = BatchLimits(max_batch_rows=1, calls_in_flight=4)
    instance = SumsRunner()
    server = RunnerServer(await warm(instance, "predict", threads=4))
    async with listening(server, uds=str(tmp_path / "s")), connected_handle(tmp_path / "s", limits=limits) as runner:
        instance.model.predictor.gate.clear()
        held = [asyncio.create_task(runner.predict(row(WAIT), deadline=soon())) for _ in range(4 * is_busy)]
        await until(lambda: server.calls > len(held))
        (tmp_path / "s").unlink()
        # The connections are pinged many times, and the example is due.
        await asyncio.sleep(0.3)
        calls = [asyncio.create_task(runner.predict(row(1), deadline=soon())) for _ in range(30)]
        instance.model.predictor.gate.set()
        assert [(await call).values[0, 0] for call in held] == [3 * WAIT] * 4 * is_busy
        assert [(await call).values[0, 0] for call in calls] == [3] * 30
        assert runner.last_status.ready


@in_loop
@pytest.mark.parametrize("is_pinging", [False, True])
async def test_a_killed_runner_is_noticed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_pinging: bool
) -> None:
    pings: list[ConnectionPool] = []

    async def waiting(pool: ConnectionPool) -> None:
        pings.append(pool)
        await asyncio.Event().wait()

    # Not by a ping: its new connection may wait in the backlog for the process that replaces the killed one.
    monkeypatch.setattr(timing, "PING_EVERY_S", 0.01 if is_pinging else 3600.0)
    monkeypatch.setattr(ConnectionPool, "ping", waiting)
    async with stoppable(tmp_path) as (process, path), connected_handle(path) as runner:
        assert (await runner.predict(row(1), deadline=soon())).values[0, 0] == 3
        await until(lambda: len(pings) == is_pinging)
        process.kill()
        await until(lambda: not runner.last_status.ready)


@in_loop
async def test_a_call_is_sent_again_to_the_process_that_replaces_a_killed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "CONNECT_TIMEOUT_S", 0.1)
    instance = SumsRunner()
    instance.model.predictor.gate.set()
    server = RunnerServer(await warm(instance, "predict"))
    async with stoppable(tmp_path) as (process, path), connected_handle(path) as runner:
        in_flight = asyncio.create_task(runner.predict(row(WAIT), deadline=soon()))
        late = asyncio.create_task(runner.predict(row(WAIT), deadline=soon()))
        await settle()
        process.kill()
        await until(lambda: not runner.last_status.ready)
        # What had not been sent is refused, and so is what follows.
        with pytest.raises(RunnerUnavailable):
            await late
        with pytest.raises(RunnerUnavailable):
            await runner.predict(row(1), deadline=soon())
        assert not in_flight.done()
        path.unlink()
        async with listening(server, uds=str(path)):
            assert (await in_flight).values[0, 0] == 3 * WAIT
            assert server.requests.count("/runner/predict") == 2


@in_loop
async def test_a_call_whose_runner_is_not_replaced_in_time_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "CONNECT_TIMEOUT_S", 0.1)
    async with stoppable(tmp_path) as (process, path), connected_handle(path) as runner:
        # 503 tells a client to try again; 504 would not.
        before_its_deadline = asyncio.create_task(runner.predict(row(WAIT), deadline=soon(5)))
        await settle()
        process.kill()
        with pytest.raises(RunnerUnavailable):
            await before_its_deadline
    path.unlink()
    async with stoppable(tmp_path) as (process, path), connected_handle(path) as runner:
        monkeypatch.setattr(timing, "REPLACEMENT_TIMEOUT_S", 0.3)
        for_a_while = asyncio.create_task(runner.predict(row(WAIT), deadline=soon()))
        await settle()
        process.kill()
        with pytest.raises(RunnerUnavailable):
            await for_a_while


@in_loop
async def test_a_cancelled_call_closes_its_connection(tmp_path: Path) -> None:
    instance = SumsRunner()
    server = RunnerServer(await warm(instance, "predict"))
    async with listening(server, uds=str(tmp_path / "s")), connected_handle(tmp_path / "s") as runner:
        assert server.server is not None
        connections = server.server.server_state.connections
        hung = asyncio.create_task(runner.predict(row(WAIT), deadline=soon()))
        await until(lambda: server.calls == 2)
        before = len(connections)
        hung.cancel()
        await until(lambda: len(connections) < before)
        instance.model.predictor.gate.set()


@in_loop
async def test_no_descriptor_is_left_behind(tmp_path: Path) -> None:
    server = RunnerServer(await warm(SumsRunner(), "predict"))
    async with listening(server, uds=str(tmp_path / "s")):
        for round_ in range(6):
            async with connected_handle(tmp_path / "s", connections=2) as runner:
                await asyncio.gather(*(runner.predict(row(1), deadline=soon()) for _ in range(50)))
                server.cut_connections()
                await runner.predict(row(1), deadline=soon())
            await until(lambda: not server.server.server_state.connections)  # type: ignore[union-attr]
            gc.collect()
            if round_ == 1:
                before = len(os.listdir("/proc/self/fd"))
        assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/runner/predict", b"nonsense", 400),
        ("POST", "/runner/elsewhere", b"", 404),
        ("POST", "/runner/reload", b"[1]", 400),
        ("POST", "/runner/reload", b"{", 400),
        ("POST", "/runner/reload", b" " * 100_000, 400),
        ("POST", "/runner/versions", b'{"versions":[%b]}' % (b'"v1",' * 100_000), 400),
        ("GET", "/runner/elsewhere", b"", 404),
        ("PUT", "/runner/predict", b"", 404),
    ],
)
def test_an_invalid_request_is_refused(method: str, path: str, body: bytes, status: int, tmp_path: Path) -> None:
    @in_loop
    async def test() -> None:
        server = RunnerServer(await warm(SumsRunner(), "predict"))
        async with listening(server, uds=str(tmp_path / "s")) as url:
            connection = await open_connection(Address.parse(url))
            reply = await connection.request(method, path, [body], headers=f"content-type: {MEDIA_TYPE}\r\n")
            assert reply.status == status
            connection.close()

    test()


@in_loop
async def test_pickle_is_refused_unread(tmp_path: Path) -> None:
    server = RunnerServer(await warm(SumsRunner(), "predict"))
    async with listening(server, uds=str(tmp_path / "s")) as url:
        connection = await open_connection(Address.parse(url))
        for media_type in ("application/vnd.bentoml+pickle", "Application/VND.BentoML+Pickle; x=1"):
            header = f"content-type: {media_type}\r\n"
            assert (await connection.request("POST", "/predict", [b"cos\nsystem\n"], headers=header)).status == 415
        connection.close()


@in_loop
async def test_a_large_frame_arrives_whole(tmp_path: Path) -> None:
    server = RunnerServer(await warm(SumsRunner(), "predict"))
    async with listening(server, uds=str(tmp_path / "s")), connected_handle(tmp_path / "s") as runner:
        rows = np.ones((200, 20_000), np.float32)
        assert (await runner.predict(rows, deadline=soon())).values[:, 0].tolist() == [20_000.0] * 200


@contextlib.asynccontextmanager
async def stoppable(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """Start a runner in another process, and yield the process and its socket."""
    path = folder / "process.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.serving.runners.runner_process", str(path), cwd=ROOT
    )
    try:
        async with asyncio.timeout(120):
            while not path.exists():
                await asyncio.sleep(0.02)
        yield process, path
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

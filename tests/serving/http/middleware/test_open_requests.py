"""Requests that need no key have a bounded share of the event loop's time; others are not delayed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http.middleware import open_requests
from serving.http.middleware.open_requests import LimitOpenRequests
from serving.http.middleware.timeout import Timeout
from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.event_loop import in_loop, in_simulated_time, until
from tests.serving.http.middleware.test_stack_order import Reply, fine
from tests.serving.in_process_service import ROW, LocalService


class Clients:
    """Clients of an application inside the middleware, from one address or several."""

    def __init__(self, app: ASGIApp, *, share: float = 0.1) -> None:
        self.app = LimitOpenRequests(app, share=share)
        self.answered = 0

    async def ask(
        self,
        path: str,
        more: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        address: str = "10.0.0.1",
        body: bytes = b"",
    ) -> Reply:
        reply = Reply()
        raw = [(name.lower().encode(), value.encode()) for name, value in (more or {}).items()]
        scope: Scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": raw, "client": (address, 1), "server": ("test", 80), "scheme": "http", "root_path": "",
        }  # fmt: skip

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        await asyncio.create_task(self.app(scope, receive, reply.send))
        self.answered += 1
        return reply

    async def hammer(self, path: str, connections: int, **more: Any) -> None:
        async def repeat() -> None:
            while True:
                await self.ask(path, **more)

        await asyncio.gather(*(repeat() for _ in range(connections)))


async def busy(scope: Scope, receive: Receive, send: Send) -> None:
    """Use 2 ms of processor time in two steps, then respond."""
    for _ in range(2):
        until = time.thread_time() + 0.001
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0)
    await fine(scope, receive, send)


@pytest.mark.slow
@in_simulated_time
async def test_open_requests_use_at_most_their_share() -> None:
    clients, loop = Clients(busy), asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await clients.hammer("/x", 64)  # uses the burst
    before, started, used = clients.answered, loop.time(), time.thread_time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await clients.hammer("/x", 64)
    elapsed, used = loop.time() - started, time.thread_time() - used
    # The 64 requests at the start are processed before they wait.
    assert used - 64 * 0.0022 < 0.15 * elapsed
    assert 50 < clients.answered - before < 150


async def flooded(clients: Clients) -> asyncio.Task[None]:
    """Return a flood of requests from the default address, more than the event loop's share answers in five seconds."""
    flood = asyncio.create_task(clients.hammer("/x", 200))
    await until(lambda: clients.answered > 20)
    return flood


@pytest.mark.slow
@in_simulated_time
async def test_another_address_is_not_delayed() -> None:
    clients = Clients(busy)
    flood = await flooded(clients)
    started = asyncio.get_running_loop().time()
    await clients.ask("/x", address="10.0.0.2")
    assert asyncio.get_running_loop().time() - started < 1
    flood.cancel()


@pytest.mark.parametrize("path", sorted(open_requests.PROBES))
@in_simulated_time
async def test_a_probe_is_answered_soon_even_from_a_busy_address(path: str) -> None:
    clients = Clients(busy)
    flood = await flooded(clients)
    started = asyncio.get_running_loop().time()
    assert (await clients.ask(path)).status == 200
    assert asyncio.get_running_loop().time() - started < open_requests.PROBE_WAIT_S + 0.4
    flood.cancel()


@pytest.mark.slow
@in_simulated_time
async def test_a_deadline_that_passes_in_the_queue_is_504() -> None:
    clients = Clients(Timeout(busy, timeout_s=30))
    flood = await flooded(clients)
    reply = await clients.ask("/x", {"X-Request-Timeout": "0.01"})
    assert [reply.status, reply.problem["type"]] == [504, "/problems/deadline-exceeded"]
    flood.cancel()


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("GET", "/docs.json", {}), ("GET", "/", {}), ("GET", "/ui/swagger.js", {}), ("GET", "/metrics", {}),
        ("GET", "/health", {}), ("GET", "/livez", {}), ("GET", "/readyz", {}), ("GET", "/v1", {}), ("GET", "/v2", {}),
        ("GET", "/problems", {}), ("HEAD", "/docs.json", {}), ("GET", "/nowhere", {}), ("PUT", "/livez", {}),
        ("OPTIONS", "/v1/models", {}), ("GET", "/v2/health/ready", {}), ("GET", "/v1/models", {}),
        ("OPTIONS", "/v1/models", {"Origin": "http://a", "Access-Control-Request-Method": "GET"}),
        ("POST", "/v1/tabular/predict", {"X-API-Key": "wrong", "Content-Type": "application/json"}),
    ],
)  # fmt: skip
@in_loop
async def test_every_request_without_a_key_waits_for_its_turn(method: str, path: str, more: dict[str, str]) -> None:
    service = LocalService(api_keys=API_KEYS, cors_origins=("http://b",))
    clients = Clients(service.edged)
    await clients.app._share.take("10.0.0.1", 100.0, max_wait_s=0)
    asked = asyncio.create_task(clients.ask(path, more, method=method))
    await until(lambda: clients.app._share._waiting or asked.done())
    assert not asked.done()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


@pytest.mark.parametrize("is_locked", [True, False])
@in_loop
async def test_admitted_requests_do_not_wait(is_locked: bool) -> None:
    service = LocalService(**({"api_keys": API_KEYS} if is_locked else {}))
    clients = Clients(service.edged)
    await clients.app._share.take("10.0.0.1", 100.0, max_wait_s=0)
    key = headers("predict") if is_locked else {}
    async with asyncio.timeout(5):
        body = orjson.dumps({"instances": [ROW]})
        answer = await clients.ask(
            "/v1/tabular/predict", {"Content-Type": "application/json", **key}, method="POST", body=body
        )
        assert answer.status == 200
        assert (await clients.ask("/v1/models", key)).status == 200
        assert (await clients.ask("/v1/models/unknown", key)).status == 404

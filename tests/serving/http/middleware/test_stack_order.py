"""Middleware of every request: id, metrics, access log, server errors, shutdown, deadline."""

from __future__ import annotations

import asyncio
import io
import time
from typing import Any

import orjson
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.context import current_context, current_request_id
from serving.http.middleware.graceful_shutdown import CloseConnections
from serving.http.middleware.metrics import RequestMetrics
from serving.http.middleware.request_id import RequestId
from serving.http.middleware.server_error import ServerErrors
from serving.http.middleware.timeout import Timeout
from serving.observability.access_log import AccessLog
from serving.observability.metrics import ServiceMetrics
from serving.observability.request_recorder import RequestRecorder
from serving.process.graceful_shutdown import GracefulShutdown
from tests.serving.event_loop import in_loop, until


class Reply:
    """A response."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        document: dict[str, Any] = orjson.loads(b"".join(each.get("body", b"") for each in self.messages[1:]))
        assert document["status"] == self.status
        return document


async def ask(app: ASGIApp, path: str = "/x", *, headers: dict[str, str] | None = None, method: str = "GET") -> Reply:
    reply = Reply()
    raw_headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope: Scope = {"type": "http", "method": method, "path": path, "headers": raw_headers}

    async def receive() -> Any:
        return {"type": "http.request"}

    # In a separate task, as under a server, with its own context.
    await asyncio.create_task(app(scope, receive, reply.send))  # type: ignore[arg-type]
    return reply


async def fine(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": current_request_id().encode()})


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise KeyError("the words of the model")


@in_loop
async def test_a_valid_request_id_is_kept_and_others_are_replaced() -> None:
    for valid in ("a", "A.b_c-9", "x" * 128):
        reply = await ask(RequestId(fine), headers={"X-Request-ID": valid})
        assert reply.headers["x-request-id"] == valid
        assert reply.messages[1]["body"] == valid.encode()
    seen = set()
    for bad in ("", "x" * 129, "a b", "a\u00e9", "a\nb", "a/b", None):
        reply = await ask(RequestId(fine), headers={} if bad is None else {"X-Request-ID": bad})
        assert len(reply.headers["x-request-id"]) == 32
        seen.add(reply.headers["x-request-id"])
    assert len(seen) == 7
    assert reply.headers["x-own"] == "1"


@in_loop
async def test_an_unhandled_exception_is_a_problem_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    reply = await ask(RequestId(ServerErrors(broken)), headers={"X-Request-ID": "abc"})
    assert reply.status == 500
    assert reply.problem["request_id"] == "abc"
    assert "words" not in str(reply.messages)
    assert "words of the model" in caplog.text
    assert "abc" in caplog.text


@in_loop
async def test_an_aborted_response_is_not_replaced() -> None:
    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("x")

    with pytest.raises(KeyError):
        await ask(ServerErrors(half))


@in_loop
async def test_an_exception_after_a_complete_response_is_ignored() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await fine(scope, receive, send)
        raise KeyError("x")

    assert len((await ask(ServerErrors(late))).messages) == 2


async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(600)


@in_loop
async def test_a_request_over_its_deadline_is_answered_504() -> None:
    started = time.monotonic()
    reply = await ask(Timeout(hangs, timeout_s=0.05))
    assert reply.status == 504
    assert reply.problem["type"] == "/problems/deadline-exceeded"
    assert time.monotonic() - started < 60


@in_loop
async def test_a_client_can_shorten_but_not_extend_the_time_limit() -> None:
    seen: list[float] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(current_context().deadline - time.monotonic())
        await fine(scope, receive, send)

    for value in ("500", "100000", "-1", "0", "nan", "soon", "inf"):
        await ask(Timeout(look, timeout_s=1000), headers={"X-Request-Timeout": value})
    assert seen[0] == pytest.approx(500, abs=100)
    assert all(each == pytest.approx(1000, abs=100) for each in seen[1:])


@in_loop
async def test_a_timeout_leaves_no_timer() -> None:
    for _ in range(100):
        await ask(Timeout(fine, timeout_s=3600))
    timers = getattr(asyncio.get_running_loop(), "_scheduled", [])
    assert sum(not timer.cancelled() for timer in timers) <= 2


@in_loop
async def test_a_cancellation_from_outside_is_not_a_timeout() -> None:
    task = asyncio.create_task(ask(Timeout(hangs, timeout_s=60)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_loop
async def test_while_draining_only_probes_are_answered() -> None:
    draining = GracefulShutdown(grace_s=10)
    app = CloseConnections(fine, draining=draining)
    assert (await ask(app)).status == 200
    draining.begin()
    refused = await ask(app)
    assert refused.status == 503
    assert refused.headers["connection"] == "close"
    assert "retry-after" in refused.headers
    assert refused.problem["type"] == "/problems/unavailable"
    for probe in ("/livez", "/readyz", "/metrics"):
        assert (await ask(app, probe)).status == 200


@in_loop
async def test_a_response_while_draining_closes_the_connection() -> None:
    draining, hold = GracefulShutdown(grace_s=10), asyncio.Event()

    async def held(scope: Scope, receive: Receive, send: Send) -> None:
        await hold.wait()
        await fine(scope, receive, send)

    taken = asyncio.create_task(ask(CloseConnections(held, draining=draining)))
    await until(lambda: draining.in_flight == 1)
    draining.begin()
    hold.set()
    reply = await taken
    assert (reply.status, reply.headers["connection"]) == (200, "close")


@in_loop
async def test_requests_in_flight_are_cancelled_after_the_grace_period() -> None:
    draining = GracefulShutdown(grace_s=0.05)
    app = CloseConnections(hangs, draining=draining)
    taken = asyncio.create_task(ask(app))
    await asyncio.sleep(0.01)
    assert draining.in_flight == 1
    draining.begin()
    reply = await taken
    assert reply.status == 503
    assert draining.in_flight == 0


@in_loop
async def test_an_error_does_not_leave_a_request_in_flight() -> None:
    draining = GracefulShutdown(grace_s=10)
    with pytest.raises(KeyError):
        await ask(CloseConnections(broken, draining=draining))
    assert draining.in_flight == 0


@in_loop
async def test_requests_are_measured_and_logged_by_route_template() -> None:
    metrics, written = ServiceMetrics(), io.StringIO()

    class Route:
        path = "/things/{id}"

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/things"):
            scope["route"] = Route()
        await fine(scope, receive, send)

    log = AccessLog(written)
    app = RequestId(RequestMetrics(routed, recorder=RequestRecorder(metrics, log), native=["/native"]))
    reply = await ask(app, "/things/secret-id", headers={"X-Request-ID": "id-1"})
    await ask(app, "/native", method="POST")
    await ask(app, "/scanned.php", method="MADEUP")
    assert float(reply.headers["x-process-time"]) >= 0
    log.flush()
    metrics.flush()
    lines = written.getvalue().splitlines()
    assert len(lines) == 3
    assert "request_id=id-1 method=GET route=/things/{id} status=200 ms=" in lines[0]
    assert "method=POST route=/native status=200" in lines[1]
    assert "method=OTHER route=unmatched status=200" in lines[2]
    text = metrics.content()[0].decode()
    assert 'makunouchi_requests_total{method="GET",route="/things/{id}",status="200"} 1.0' in text
    assert 'makunouchi_request_seconds_count{route="/things/{id}"} 1.0' in text
    assert "makunouchi_requests_in_flight 0.0" in text
    assert "secret-id" not in text + written.getvalue()
    assert "scanned" not in text + written.getvalue()


@in_loop
async def test_a_failed_request_is_counted() -> None:
    metrics = ServiceMetrics()
    with pytest.raises(KeyError):
        await ask(RequestMetrics(broken, recorder=RequestRecorder(metrics, None)))
    metrics.flush()
    assert "makunouchi_requests_in_flight 0.0" in metrics.content()[0].decode()


@in_loop
async def test_a_full_disk_does_not_fail_a_request() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    log = AccessLog(Full())
    app = RequestMetrics(fine, recorder=RequestRecorder(ServiceMetrics(), log))
    assert (await ask(app)).status == 200
    log.flush()


@in_loop
async def test_other_scopes_pass_through() -> None:
    seen = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    app: ASGIApp = Timeout(inner, timeout_s=1)
    app = CloseConnections(app, draining=GracefulShutdown(grace_s=1))
    app = RequestId(RequestMetrics(ServerErrors(app), recorder=RequestRecorder(ServiceMetrics(), None)))
    await app({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]

"""Tests of the batch queue: batches, overload, failures, disconnects and shutdown."""

from __future__ import annotations

import asyncio
import json

import pytest

from models.errors import DeadlineExceeded, Overloaded, RunnerUnavailable
from serving.observability.metrics import service_metrics
from serving.server.fast_path.batch_queue import MAX_BATCH_BYTES, MAX_REQUESTS
from serving.server.fast_path.protocol import BODY_WAIT_S, MAX_BODY_BYTES
from tests.serving.event_loop import in_loop, until
from tests.serving.server.fast_path.fast_path_server import BODY, FastPathServer, listening, read_answer, request


@in_loop
async def test_requests_during_a_batch_form_the_next_batch() -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold)) as server:
        first = asyncio.create_task(server.send(request()))
        await until(lambda: server.batches)
        others = [asyncio.create_task(server.send(request(b'{"n": %d}' % n))) for n in range(MAX_REQUESTS + 6)]
        # The first request counts twice, as a request and as the running batch.
        await until(lambda: server.draining.in_flight == 2 + MAX_REQUESTS + 6)
        hold.set()
        assert await first == [b"fast " + BODY]
        answers = [(await other)[0] for other in others]
        assert answers == [b'fast {"n": %d}' % n for n in range(MAX_REQUESTS + 6)]
    assert [len(batch) for batch in server.batches] == [1, MAX_REQUESTS, 6]


@in_loop
async def test_large_requests_form_small_batches() -> None:
    hold = asyncio.Event()
    body = b'{"text": "%b"}' % (b"x" * (MAX_BODY_BYTES - 100))
    in_one_batch = 1 + MAX_BATCH_BYTES // len(body)
    async with listening(FastPathServer(hold=hold)) as server:
        first = asyncio.create_task(server.send(request()))
        await until(lambda: server.batches)
        others = [asyncio.create_task(server.send(request(body))) for _ in range(in_one_batch + 3)]
        await until(lambda: server.draining.in_flight == 2 + len(others))
        hold.set()
        assert await first == [b"fast " + BODY]
        assert [(await other)[0] for other in others] == [b"fast " + body] * len(others)
    assert [len(batch) for batch in server.batches] == [1, in_one_batch, 3]


@in_loop
async def test_requests_beyond_the_limit_go_to_the_application() -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold, max_waiting=2)) as server:
        first = asyncio.create_task(server.send(request()))
        await until(lambda: server.batches)
        waiting = [asyncio.create_task(server.send(request())) for _ in range(2)]
        await until(lambda: server.draining.in_flight >= 4)
        assert await server.send(request()) == [b"application " + BODY]
        hold.set()
        assert [await each for each in (first, *waiting)] == [[b"fast " + BODY]] * 3


@in_loop
async def test_requests_of_a_failed_batch_go_to_the_application() -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold, error=ValueError("the secret"))) as server:
        sent = [asyncio.create_task(server.send(request(b'{"n": %d}' % n))) for n in range(5)]
        await until(lambda: server.batches)
        hold.set()
        assert [(await each)[0] for each in sent] == [b'application {"n": %d}' % n for n in range(5)]


@pytest.mark.parametrize(
    ("error", "status"), [(RunnerUnavailable("gone"), 503), (Overloaded("full"), 503), (DeadlineExceeded("late"), 504)]
)
@in_loop
async def test_runner_errors_are_returned_with_the_request_id(error: Exception, status: int) -> None:
    timeout_s = 0.05 if status == 504 else 30.0
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold, error=error, timeout_s=timeout_s)) as server:
        reader, writer = await server.connect()
        writer.write(request(more=[b"X-Request-ID: mine.3"]))
        await until(lambda: server.batches)
        await asyncio.sleep(0.1)
        hold.set()
        received, headers, body = await read_answer(reader)
        assert received == status
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["request_id"] == headers["x-request-id"] == "mine.3"
        assert ("retry-after" in headers) is (status == 503)
        writer.close()
    assert f"status={status}" in server.lines.getvalue()
    assert not server.by_application


@in_loop
async def test_request_keeps_its_deadline_after_a_late_batch() -> None:
    async with listening(FastPathServer(error=DeadlineExceeded("late"))) as server:
        assert await server.send(request()) == [b"application " + BODY]
    (scope,) = server.by_application
    left_s = float(dict(scope["headers"])[b"x-request-timeout"])
    assert 20 < left_s <= 30


@in_loop
async def test_disconnect_is_logged_and_does_not_affect_others() -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold)) as server:
        _, writer = await server.connect()
        writer.write(request())
        await until(lambda: server.batches)
        other = asyncio.create_task(server.send(request()))
        await until(lambda: server.draining.in_flight >= 3)
        writer.transport.abort()
        await until(lambda: server.connections == 1)
        hold.set()
        assert await other == [b"fast " + BODY]
    assert server.lines.getvalue().count("status=499") == 1


@in_loop
async def test_disconnect_during_the_body_leaks_nothing() -> None:
    async with listening(FastPathServer()) as server:
        _, writer = await server.connect()
        writer.write(request()[:-3])
        await asyncio.sleep(0.02)
        writer.transport.abort()
        await until(lambda: server.connections == 0)
        # The fast path no longer waits for the body.
        await asyncio.sleep(2 * BODY_WAIT_S)
        assert await server.send(request()) == [b"fast " + BODY]


@in_loop
async def test_shutdown_finishes_requests_and_closes_connections() -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold)) as server:
        connections = [await server.connect() for _ in range(3)]
        for _, writer in connections:
            writer.write(request())
        await until(lambda: server.draining.in_flight >= 4)
        server.draining.is_begun = True
        hold.set()
        for reader, writer in connections:
            status, headers, body = await read_answer(reader)
            assert (status, body, headers["connection"]) == (200, b"fast " + BODY, "close")
            assert await reader.read() == b""
            writer.close()


@in_loop
async def test_fast_requests_are_counted_in_the_metrics() -> None:
    def sample(name: str, **labels: str) -> float:
        service_metrics().flush()
        return service_metrics().registry.get_sample_value(name, labels) or 0.0

    before = sample("makunouchi_requests_total", route="/hot", method="POST", status="200")
    async with listening(FastPathServer()) as server:
        await server.send(request())
    assert sample("makunouchi_requests_total", route="/hot", method="POST", status="200") == before + 1
    assert sample("makunouchi_express_requests_total", route="/hot") >= 1
    assert sample("makunouchi_requests_in_flight") == 0

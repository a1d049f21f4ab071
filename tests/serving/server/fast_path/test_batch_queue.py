"""What is gathered, and what each client sees when something goes wrong."""

from __future__ import annotations

import asyncio
import json

import pytest

from models.errors import DeadlineExceeded, Overloaded, RunnerUnavailable
from serving.observability.metrics import service_metrics
from serving.server.fast_path.batch_queue import MAX_REQUESTS
from serving.server.fast_path.protocol import BODY_WAIT_S
from tests.serving.event_loop import in_loop, until
from tests.serving.server.fast_path.fast_path_server import BODY, FastPathServer, listening, read_answer, request


@in_loop
async def test_what_comes_while_a_batch_is_under_way_is_the_next_batch() -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold)) as lane:
        first = asyncio.create_task(lane.send(request()))
        await until(lambda: lane.batches)
        others = [asyncio.create_task(lane.send(request(b'{"n": %d}' % n))) for n in range(MAX_REQUESTS + 6)]
        # The first counts twice: as a request, and as the batch that is under way.
        await until(lambda: lane.draining.in_flight == 2 + MAX_REQUESTS + 6)
        hold.set()
        assert await first == [b"short " + BODY]
        answers = [(await other)[0] for other in others]
        assert answers == [b'short {"n": %d}' % n for n in range(MAX_REQUESTS + 6)]
    assert [len(batch) for batch in lane.batches] == [1, MAX_REQUESTS, 6]


@in_loop
async def test_more_than_may_wait_go_the_ordinary_road() -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold, max_waiting=2)) as lane:
        first = asyncio.create_task(lane.send(request()))
        await until(lambda: lane.batches)
        waiting = [asyncio.create_task(lane.send(request())) for _ in range(2)]
        await until(lambda: lane.draining.in_flight >= 4)
        assert await lane.send(request()) == [b"ordinary " + BODY]
        hold.set()
        assert [await each for each in (first, *waiting)] == [[b"short " + BODY]] * 3


@in_loop
async def test_when_a_batch_fails_each_request_is_answered_alone() -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold, error=ValueError("the secret"))) as lane:
        sent = [asyncio.create_task(lane.send(request(b'{"n": %d}' % n))) for n in range(5)]
        await until(lambda: lane.batches)
        hold.set()
        assert [(await each)[0] for each in sent] == [b'ordinary {"n": %d}' % n for n in range(5)]


@pytest.mark.parametrize(
    ("error", "status"), [(RunnerUnavailable("gone"), 503), (Overloaded("full"), 503), (DeadlineExceeded("late"), 504)]
)
@in_loop
async def test_a_runner_that_cannot_answer_is_said_at_once_under_the_own_id(error: Exception, status: int) -> None:
    timeout_s = 0.05 if status == 504 else 30.0
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold, error=error, timeout_s=timeout_s)) as lane:
        reader, writer = await lane.connect()
        writer.write(request(more=[b"X-Request-ID: mine.3"]))
        await until(lambda: lane.batches)
        await asyncio.sleep(0.1)
        hold.set()
        seen, headers, body = await read_answer(reader)
        assert seen == status
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["request_id"] == headers["x-request-id"] == "mine.3"
        assert ("retry-after" in headers) is (status == 503)
        writer.close()
    assert f"status={status}" in lane.lines.getvalue()
    assert not lane.by_application


@in_loop
async def test_a_request_with_time_left_is_not_late_with_the_others() -> None:
    async with listening(FastPathServer(error=DeadlineExceeded("late"))) as lane:
        assert await lane.send(request()) == [b"ordinary " + BODY]
    (scope,) = lane.by_application
    left_s = float(dict(scope["headers"])[b"x-request-timeout"])
    assert 20 < left_s <= 30


@in_loop
async def test_a_client_that_leaves_is_counted_and_harms_nobody() -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold)) as lane:
        _, writer = await lane.connect()
        writer.write(request())
        await until(lambda: lane.batches)
        other = asyncio.create_task(lane.send(request()))
        await until(lambda: lane.draining.in_flight >= 3)
        writer.transport.abort()
        await until(lambda: lane.connections == 1)
        hold.set()
        assert await other == [b"short " + BODY]
    assert lane.lines.getvalue().count("status=499") == 1


@in_loop
async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind() -> None:
    async with listening(FastPathServer()) as lane:
        _, writer = await lane.connect()
        writer.write(request()[:-3])
        await asyncio.sleep(0.02)
        writer.transport.abort()
        await until(lambda: lane.connections == 0)
        # The short road waits no longer for the body.
        await asyncio.sleep(2 * BODY_WAIT_S)
        assert await lane.send(request()) == [b"short " + BODY]


@in_loop
async def test_told_to_stop_what_was_taken_is_answered_and_nothing_more_is_asked_on_its_connection() -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold)) as lane:
        connections = [await lane.connect() for _ in range(3)]
        for _, writer in connections:
            writer.write(request())
        await until(lambda: lane.draining.in_flight >= 4)
        lane.draining.is_begun = True
        hold.set()
        for reader, writer in connections:
            status, headers, body = await read_answer(reader)
            assert (status, body, headers["connection"]) == (200, b"short " + BODY, "close")
            assert await reader.read() == b""
            writer.close()


@in_loop
async def test_it_is_counted_like_every_other_request() -> None:
    def seen(name: str, **labels: str) -> float:
        service_metrics().flush()
        return service_metrics().registry.get_sample_value(name, labels) or 0.0

    before = seen("makunouchi_requests_total", route="/hot", method="POST", status="200")
    async with listening(FastPathServer()) as lane:
        await lane.send(request())
    assert seen("makunouchi_requests_total", route="/hot", method="POST", status="200") == before + 1
    assert seen("makunouchi_express_requests_total", route="/hot") >= 1
    assert seen("makunouchi_requests_in_flight") == 0

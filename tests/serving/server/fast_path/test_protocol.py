"""Which requests turn off, and that they are answered like all others."""

from __future__ import annotations

import asyncio

import pytest

from serving.http.middleware.metrics import RequestMetrics
from serving.http.middleware.request_id import RequestId
from serving.observability.metrics import service_metrics
from serving.observability.request_recorder import RequestRecorder
from serving.server.fast_path import protocol
from serving.server.fast_path.protocol import MAX_BODY_BYTES
from tests.serving.event_loop import in_loop, until
from tests.serving.server.fast_path.fast_path_server import BODY, FastPathServer, listening, read_answer, request


@in_loop
async def test_a_plain_request_is_answered_by_the_short_road() -> None:
    async with listening(FastPathServer()) as lane:
        reader, writer = await lane.connect()
        for _ in range(2):
            writer.write(request(more=[b"X-Request-ID: mine.1", b"Accept: */*", b"Connection: keep-alive"]))
            status, headers, body = await read_answer(reader)
            assert (status, body) == (200, b"short " + BODY)
            assert headers["x-request-id"] == "mine.1"
            assert headers["content-type"] == "application/json"
            assert headers["cache-control"] == "no-store"
            assert float(headers["x-process-time"]) > 0
            assert "date" in headers
        writer.close()
    assert not lane.by_application
    assert lane.lines.getvalue().count("request_id=mine.1 method=POST route=/hot status=200") == 2


@pytest.mark.parametrize(
    "sent",
    [
        request(line=b"POST /other HTTP/1.1"),
        request(line=b"POST /hot?x=1 HTTP/1.1"),
        request(line=b"POST /hot/ HTTP/1.1"),
        request(line=b"PUT /hot HTTP/1.1"),
        request(line=b"POST /hot HTTP/1.0", more=[b"Connection: keep-alive"]),
        request(without=b"content-type"),
        request(without=b"content-type", more=[b"Content-Type: text/plain"]),
        request(more=[b"Content-Encoding: gzip"]),
        request(more=[b"Origin: http://elsewhere"]),
        request(more=[b"X-Request-Timeout: 1"]),
        request(more=[b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]),
        request(more=[b"Cache-Control: no-cache"]),
        # The ordinary road reads the first of each.
        request(more=[b"Content-Type: application/json"]),
        request(more=[b"X-Request-ID: a", b"X-Request-ID: b"]),
        request(b"x" * (MAX_BODY_BYTES + 1)),
        request(b""),
    ],
    ids=lambda sent: sent[:60].decode(),
)
@in_loop
async def test_whatever_is_not_plain_goes_the_ordinary_road(sent: bytes) -> None:
    async with listening(FastPathServer()) as lane:
        assert (await lane.send(sent))[0].startswith(b"ordinary ")
    assert not lane.batches


@in_loop
async def test_a_body_in_chunks_goes_the_ordinary_road() -> None:
    sent = request(b"", without=b"content-length", more=[b"Transfer-Encoding: chunked"])
    async with listening(FastPathServer()) as lane:
        assert await lane.send(sent + b"8\r\n" + BODY + b"\r\n0\r\n\r\n") == [b"ordinary " + BODY]


@in_loop
async def test_a_body_may_come_after_its_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "BODY_WAIT_S", 60.0)
    sent = request()
    async with listening(FastPathServer()) as lane:
        assert await lane.send(sent[:-8], sent[-8:-3], sent[-3:]) == [b"short " + BODY]


@in_loop
async def test_a_body_that_is_late_is_waited_for_by_the_ordinary_road() -> None:
    sent = request()
    async with listening(FastPathServer()) as lane:
        reader, writer = await lane.connect()
        writer.write(sent[:-3])
        await until(lambda: lane.begun_by_application)
        writer.write(sent[-3:])
        assert (await read_answer(reader))[2] == b"ordinary " + BODY
        writer.close()
    assert not lane.batches


@in_loop
async def test_credentials_are_looked_at_and_not_admitted_means_the_ordinary_road() -> None:
    async with listening(FastPathServer(admits=lambda headers: (b"x-api-key", b"right") in headers)) as lane:
        assert await lane.send(request(more=[b"X-API-Key: right"])) == [b"short " + BODY]
        assert await lane.send(request(more=[b"X-API-Key: wrong"])) == [b"ordinary " + BODY]
        assert await lane.send(request()) == [b"ordinary " + BODY]


@in_loop
async def test_pipelined_requests_are_answered_in_order() -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold)) as lane:
        asyncio.get_running_loop().call_later(0.1, hold.set)
        sent = [request(b'{"n": %d}' % n) for n in range(4)]
        answers = await lane.send(b"".join(sent), answers=4)
        assert [answer.split()[-1] for answer in answers] == [b"%d}" % n for n in range(4)]
        assert answers[0].startswith(b"short")


@in_loop
async def test_the_application_answers_what_the_short_road_will_not() -> None:
    async with listening(FastPathServer()) as lane:
        reader, writer = await lane.connect()
        writer.write(request(b'{"odd": 1}', more=[b"X-Request-ID: mine.2"]))
        assert (await read_answer(reader))[2] == b'ordinary {"odd": 1}'
        # The connection goes on.
        writer.write(request())
        assert (await read_answer(reader))[2] == b"short " + BODY
        writer.close()
    (scope,) = lane.by_application
    assert (scope["method"], scope["path"], scope["raw_path"], scope["query_string"]) == ("POST", "/hot", b"/hot", b"")
    assert (b"x-request-id", b"mine.2") in scope["headers"]


@in_loop
async def test_a_closed_road_is_not_taken() -> None:
    async with listening(FastPathServer(is_available=False)) as lane:
        assert await lane.send(request()) == [b"ordinary " + BODY]
        lane.is_available = True
        assert await lane.send(request()) == [b"short " + BODY]
        lane.draining.is_begun = True
        assert await lane.send(request()) == [b"ordinary " + BODY]


@in_loop
async def test_the_heads_of_both_roads_are_the_same_bytes() -> None:
    lane = FastPathServer()
    lane.application = RequestMetrics(RequestId(lane.application), recorder=RequestRecorder(service_metrics(), None))  # type: ignore[method-assign]
    heads = []
    async with listening(lane):
        for more in ([], [b"X-Plain: no"]):
            reader, writer = await lane.connect()
            writer.write(request(more=[b"X-Request-ID: mine.4", *more]))
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append([line for line in head.split(b"\r\n") if not line.startswith((b"date", b"x-process-time"))])
            writer.close()
    assert len(lane.by_application) == 1
    assert heads[0] == [line.replace(b": 17", b": 14") for line in heads[1]]

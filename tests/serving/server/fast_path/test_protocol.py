"""Tests of the requests that take the fast path, and of equal responses by the application."""

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
async def test_plain_request_takes_the_fast_path() -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        for _ in range(2):
            writer.write(request(more=[b"X-Request-ID: mine.1", b"Accept: */*", b"Connection: keep-alive"]))
            status, headers, body = await read_answer(reader)
            assert (status, body) == (200, b"fast " + BODY)
            assert headers["x-request-id"] == "mine.1"
            assert headers["content-type"] == "application/json"
            assert headers["cache-control"] == "no-store"
            assert float(headers["x-process-time"]) > 0
            assert "date" in headers
        writer.close()
    assert not server.by_application
    assert server.lines.getvalue().count("request_id=mine.1 method=POST route=/hot status=200") == 2


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
        # The application reads the first of repeated headers.
        request(more=[b"Content-Type: application/json"]),
        request(more=[b"X-Request-ID: a", b"X-Request-ID: b"]),
        request(b"x" * (MAX_BODY_BYTES + 1)),
        request(b""),
    ],
    ids=lambda sent: sent[:60].decode(),
)
@in_loop
async def test_other_requests_go_to_the_application(sent: bytes) -> None:
    async with listening(FastPathServer()) as server:
        assert (await server.send(sent))[0].startswith(b"application ")
    assert not server.batches


@in_loop
async def test_chunked_body_goes_to_the_application() -> None:
    sent = request(b"", without=b"content-length", more=[b"Transfer-Encoding: chunked"])
    async with listening(FastPathServer()) as server:
        assert await server.send(sent + b"8\r\n" + BODY + b"\r\n0\r\n\r\n") == [b"application " + BODY]


@in_loop
async def test_body_in_later_packets_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "BODY_WAIT_S", 60.0)
    sent = request()
    async with listening(FastPathServer()) as server:
        assert await server.send(sent[:-8], sent[-8:-3], sent[-3:]) == [b"fast " + BODY]


@in_loop
async def test_late_body_goes_to_the_application() -> None:
    sent = request()
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(sent[:-3])
        await until(lambda: server.begun_by_application)
        writer.write(sent[-3:])
        assert (await read_answer(reader))[2] == b"application " + BODY
        writer.close()
    assert not server.batches


@in_loop
async def test_request_without_valid_credentials_goes_to_the_application() -> None:
    async with listening(FastPathServer(admits=lambda headers: (b"x-api-key", b"right") in headers)) as server:
        assert await server.send(request(more=[b"X-API-Key: right"])) == [b"fast " + BODY]
        assert await server.send(request(more=[b"X-API-Key: wrong"])) == [b"application " + BODY]
        assert await server.send(request()) == [b"application " + BODY]


@in_loop
async def test_pipelined_requests_are_answered_in_order() -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold)) as server:
        asyncio.get_running_loop().call_later(0.1, hold.set)
        sent = [request(b'{"n": %d}' % n) for n in range(4)]
        answers = await server.send(b"".join(sent), answers=4)
        assert [answer.split()[-1] for answer in answers] == [b"%d}" % n for n in range(4)]
        assert answers[0].startswith(b"fast")


@in_loop
async def test_request_refused_by_the_fast_path_goes_to_the_application() -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(request(b'{"odd": 1}', more=[b"X-Request-ID: mine.2"]))
        assert (await read_answer(reader))[2] == b'application {"odd": 1}'
        # The connection stays open.
        writer.write(request())
        assert (await read_answer(reader))[2] == b"fast " + BODY
        writer.close()
    (scope,) = server.by_application
    assert (scope["method"], scope["path"], scope["raw_path"], scope["query_string"]) == ("POST", "/hot", b"/hot", b"")
    assert (b"x-request-id", b"mine.2") in scope["headers"]


@in_loop
async def test_unavailable_operation_goes_to_the_application() -> None:
    async with listening(FastPathServer(is_available=False)) as server:
        assert await server.send(request()) == [b"application " + BODY]
        server.is_available = True
        assert await server.send(request()) == [b"fast " + BODY]
        server.draining.is_begun = True
        assert await server.send(request()) == [b"application " + BODY]


@in_loop
async def test_response_heads_are_equal_on_both_paths() -> None:
    server = FastPathServer()
    recorder = RequestRecorder(service_metrics(), None)
    server.application = RequestMetrics(RequestId(server.application), recorder=recorder)  # type: ignore[method-assign]
    heads = []
    async with listening(server):
        for more in ([], [b"X-Plain: no"]):
            reader, writer = await server.connect()
            writer.write(request(more=[b"X-Request-ID: mine.4", *more]))
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append([line for line in head.split(b"\r\n") if not line.startswith((b"date", b"x-process-time"))])
            writer.close()
    assert len(server.by_application) == 1
    assert heads[0] == [line.replace(b": 20", b": 13") for line in heads[1]]

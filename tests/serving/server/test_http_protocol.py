"""Invalid and hostile bytes: each gets its response, in order, in bounded memory."""

from __future__ import annotations

import asyncio
import json

import pytest

from serving.server import http_protocol
from serving.server.request_head import MAX_HEAD_BYTES
from tests.serving.event_loop import in_loop, in_simulated_time, until
from tests.serving.server.fast_path.fast_path_server import BODY, FastPathServer, listening, read_answer, request

# The fast path leaves requests with this header to the application.
NOT_FAST = b"X-Plain: no"
NOT_HTTP = b"\x00nonsense\r\n\r\n"
WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
CHUNKED = request(b"", without=b"content-length", more=[b"Transfer-Encoding: chunked"])


async def expect_refusal(reader: asyncio.StreamReader, status: int, kind: str) -> dict[str, str]:
    """Read the last response, check that it is a problem document, and return its headers."""
    seen, headers, body = await read_answer(reader)
    document = json.loads(body)
    assert (seen, document["type"]) == (status, f"/problems/{kind}")
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["x-request-id"] == document["request_id"]
    assert float(headers["x-process-time"]) == 0
    assert await asyncio.wait_for(reader.read(), 10) == b""
    return headers


@pytest.mark.parametrize("more", [(), (NOT_FAST,)], ids=["fast path", "application"])
@in_loop
async def test_invalid_bytes_are_answered_after_earlier_requests(more: tuple[bytes, ...]) -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(request(b'{"n": 1}', more=more) + request(b'{"n": 2}', more=more) + NOT_HTTP)
        for number in (b"1", b"2"):
            status, _, body = await read_answer(reader)
            assert status == 200
            assert body.endswith(b'{"n": %b}' % number)
        headers = await expect_refusal(reader, 400, "not-http")
        assert server.counted == [(headers["x-request-id"], 400)]
        writer.close()


@in_loop
async def test_a_fault_of_the_service_is_logged_and_not_the_fault_of_the_bytes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(protocol: http_protocol.HttpProtocol) -> None:
        raise KeyError("a fault of the service")

    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        with monkeypatch.context() as patched:
            patched.setattr(http_protocol.HttpProtocol, "begin", fail)
            writer.write(request(b'{"n": 1}', more=(NOT_FAST,)))
            await expect_refusal(reader, 500, "internal")
        assert "KeyError: 'a fault of the service'" in caplog.text
        writer.close()


@pytest.mark.parametrize("target", [b"/\xff", b"http://["])
@in_loop
async def test_a_target_that_cannot_be_decoded_is_invalid(target: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        await expect_refusal(reader, 400, "not-http")
        assert not caplog.records
        writer.close()


@in_loop
async def test_invalid_bytes_alone_are_answered_by_a_problem_document() -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(NOT_HTTP)
        await expect_refusal(reader, 400, "not-http")
        writer.close()


@in_simulated_time
async def test_invalid_chunks_are_answered_in_the_order_of_requests() -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(request() + CHUNKED + b"zz\r\n")
        assert (await read_answer(reader))[2] == b"fast " + BODY
        await expect_refusal(reader, 400, "not-http")
        writer.close()
        reader, writer = await server.connect()
        writer.write(CHUNKED)
        await asyncio.sleep(0.05)
        writer.write(b"zz\r\n")
        await expect_refusal(reader, 400, "not-http")
        writer.close()
    assert not server.by_application


@pytest.mark.parametrize("before", [b"", request()], ids=["alone", "behind another"])
@in_loop
async def test_a_refused_connection_closes_with_its_client(before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_S", 600)
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(before + CHUNKED + b"zz\r\n")
        if before:
            await read_answer(reader)
        await expect_refusal(reader, 400, "not-http")
        writer.close()
        await until(lambda: server.connections == 0)


@in_loop
async def test_invalid_chunks_do_not_interrupt_a_response() -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(b"POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await read_answer(reader))[2] == b"early"
        writer.write(b"zz\r\n")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


@pytest.mark.parametrize("more", [(), (NOT_FAST,)], ids=["fast path", "application"])
@in_loop
async def test_a_handshake_behind_a_request_without_response_is_refused(more: tuple[bytes, ...]) -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(request(more=more) + WEBSOCKET)
        assert (await read_answer(reader))[2].endswith(BODY)
        await expect_refusal(reader, 400, "not-http")
        writer.close()
        assert len(server.batches) + len(server.by_application) == 1


@in_simulated_time
async def test_the_time_limit_of_heads_does_not_apply_to_websockets() -> None:
    async with listening(FastPathServer(head_timeout_s=0.1)) as server:
        reader, writer = await server.connect()
        writer.write(request())
        await read_answer(reader)
        writer.write(WEBSOCKET)
        assert await reader.readuntil(b"\r\n\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.4)
        writer.close()


@pytest.mark.parametrize("piece", [b"a" * 5000, b"a: b\r\n" * 800], ids=["one header", "many headers"])
@in_loop
async def test_an_endless_head_is_refused(piece: bytes) -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(b"GET / HTTP/1.1\r\nX-Request-ID: mine.5\r\nA: ")
        for _ in range(2 * MAX_HEAD_BYTES // len(piece)):
            writer.write(piece)
            await asyncio.sleep(0)
        headers = await expect_refusal(reader, 431, "headers-too-large")
        assert headers["x-request-id"] == "mine.5"
        writer.close()


@in_simulated_time
async def test_a_large_head_is_refused_however_it_is_segmented() -> None:
    sent = request(more=[b"User-Agent: " + b"u" * MAX_HEAD_BYTES])
    async with listening(FastPathServer()) as server:
        for cuts in ([], [1], [30_000], [60_000, 64_000]):
            reader, writer = await server.connect()
            for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
                writer.write(sent[start:end])
                await writer.drain()
                await asyncio.sleep(0.02)
            await expect_refusal(reader, 431, "headers-too-large")
            writer.close()
        small = request(more=[b"User-Agent: " + b"u" * (MAX_HEAD_BYTES - 1000)])
        assert await server.send(small) == [b"fast " + BODY]


@in_loop
async def test_a_body_does_not_count_for_the_next_head() -> None:
    body = b"b" * (MAX_HEAD_BYTES * 2)
    async with listening(FastPathServer()) as server:
        second = request()
        answers = await server.send(request(body) + second[:20], second[20:], answers=2)
        assert answers == [b"application " + body, b"fast " + BODY]


@pytest.mark.parametrize(
    "before", [b"", request(), request(more=[NOT_FAST])], ids=["first", "fast path", "application"]
)
@in_simulated_time
async def test_a_slow_head_is_refused(before: bytes) -> None:
    async with listening(FastPathServer(head_timeout_s=0.3)) as server:
        reader, writer = await server.connect()
        if before:
            writer.write(before)
            await read_answer(reader)
        started = asyncio.get_running_loop().time()
        answer = asyncio.create_task(expect_refusal(reader, 408, "headers-timeout"))
        for byte in request():
            writer.write(bytes([byte]))
            await asyncio.wait([answer], timeout=0.05)
            if answer.done():
                break
        await answer
        assert 0.25 < asyncio.get_running_loop().time() - started < 5
        writer.close()


@in_simulated_time
async def test_empty_lines_do_not_keep_a_connection_open() -> None:
    async with listening(FastPathServer(keep_alive_s=0.3)) as server:
        for before in (b"", request()):
            reader, writer = await server.connect()
            if before:
                writer.write(before)
                await read_answer(reader)
            end = asyncio.create_task(reader.read())
            for _ in range(100):
                writer.write(b"\r\n")
                # No line arrives when the server closes the connection.
                await asyncio.wait([end], timeout=0.07)
                if end.done():
                    break
            assert await end == b""
            writer.close()


@in_simulated_time
async def test_a_silent_connection_is_closed() -> None:
    async with listening(FastPathServer(keep_alive_s=0.2)) as server:
        reader, writer = await server.connect()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        # A client that sends bytes in time is answered.
        reader, writer = await server.connect()
        writer.write(request()[:10])
        await asyncio.sleep(0.3)
        writer.write(request()[10:])
        assert (await read_answer(reader))[2] == b"fast " + BODY
        writer.close()


@pytest.mark.parametrize("before", [request(), request(more=(NOT_FAST,)), b"\r\n"], ids=["fast", "application", "none"])
@in_simulated_time
async def test_an_idle_connection_stays_open_for_the_keep_alive(before: bytes) -> None:
    async with listening(FastPathServer(head_timeout_s=0.1, keep_alive_s=0.6)) as server:
        reader, writer = await server.connect()
        writer.write(before)
        if before.strip():
            await read_answer(reader)
        await asyncio.sleep(0.4)
        writer.write(request())
        assert (await read_answer(reader))[2] == b"fast " + BODY
        began = asyncio.get_running_loop().time()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert 0.5 < asyncio.get_running_loop().time() - began < 3
        writer.close()


async def _seconds_open(server: FastPathServer, *, size: int, every_s: float) -> float:
    """Return how long a connection stays open whose request is answered early, while its body arrives in pieces."""
    reader, writer = await server.connect()
    writer.write(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n{")
    assert (await read_answer(reader))[2] == b"early"
    began = asyncio.get_running_loop().time()
    end = asyncio.create_task(reader.read())
    while not end.done():
        writer.write(bytes(size))
        await asyncio.wait([end], timeout=every_s)
    writer.close()
    return asyncio.get_running_loop().time() - began


@pytest.mark.slow
@in_simulated_time
async def test_the_rest_of_a_body_that_was_answered_early_has_a_minimum_rate_and_a_time_limit() -> None:
    async with listening(FastPathServer(head_timeout_s=0.3, keep_alive_s=2.0, body_min_rate=1000)) as server:
        silent = await _seconds_open(server, size=0, every_s=60)
        slow = await _seconds_open(server, size=10, every_s=0.1)
        endless = await _seconds_open(server, size=1000, every_s=0.1)
    assert 0.25 < silent < 1
    assert 0.25 < slow < 1
    assert 1.9 < endless < 4
    async with listening(FastPathServer(head_timeout_s=0.3, keep_alive_s=2.0)) as server:
        assert 0.25 < await _seconds_open(server, size=0, every_s=60) < 1
        # Without a minimum rate, one byte is enough.
        assert 1.9 < await _seconds_open(server, size=1, every_s=0.1) < 4


@pytest.mark.slow
@in_simulated_time
async def test_a_connection_is_kept_when_the_rest_of_a_body_that_was_answered_early_arrives() -> None:
    async with listening(FastPathServer(head_timeout_s=0.3, keep_alive_s=2.0)) as server:
        reader, writer = await server.connect()
        writer.write(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert (await read_answer(reader))[2] == b"early"
        await asyncio.sleep(0.2)
        writer.write(bytes(99))
        await asyncio.sleep(1)
        for _ in range(2):
            writer.write(request())
            assert (await read_answer(reader))[2] == b"fast " + BODY
            await asyncio.sleep(1)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


@in_simulated_time
async def test_a_head_has_its_whole_time_limit_after_an_idle_time() -> None:
    async with listening(FastPathServer(head_timeout_s=5, keep_alive_s=0.5)) as server:
        reader, writer = await server.connect()
        writer.write(b"\r\n")
        await asyncio.sleep(0.3)
        writer.write(request()[:10])
        await asyncio.sleep(0.4)
        writer.write(request()[10:])
        assert (await read_answer(reader))[2] == b"fast " + BODY
        writer.close()


@pytest.mark.parametrize(("version", "is_continued"), [(b"1.1", True), (b"1.0", False)])
@in_loop
async def test_a_client_that_waits_for_100_gets_it_unless_it_speaks_http_1_0(
    version: bytes, is_continued: bool
) -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        head, _, body = request(line=b"POST /slow HTTP/" + version, more=[b"Expect: 100-continue"]).partition(
            b"\r\n\r\n"
        )
        writer.write(head + b"\r\n\r\n")
        if is_continued:
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await read_answer(reader))[0] == 200
        assert server.by_application
        writer.close()


@pytest.mark.parametrize("gap_s", [0, 0.05], ids=["at once", "later"])
@in_simulated_time
async def test_trailers_are_discarded(gap_s: float) -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(CHUNKED)
        await asyncio.sleep(gap_s)
        writer.write(b"2\r\n{}\r\n0\r\nX-API-Key: stolen\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n")
        assert (await read_answer(reader))[2] == b"application {}"
        writer.write(request(more=[b"X-Request-ID: mine.6", NOT_FAST]))
        await read_answer(reader)
        writer.close()
    first, second = server.by_application
    assert {name for name, _ in first["headers"]} == {b"host", b"content-type", b"transfer-encoding"}
    assert (b"x-request-id", b"mine.6") in second["headers"]


@pytest.mark.parametrize("cut", [None, -len(BODY), 30], ids=["at once", "body later", "in its head"])
@pytest.mark.parametrize("before", [b"", request(b'{"n": 0}')], ids=["alone", "behind another"])
@in_simulated_time
async def test_an_offer_of_http_2_is_ignored(cut: int | None, before: bytes) -> None:
    offer = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"]
    sent = request(more=offer)
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(before + sent[:cut])
        if cut:
            await asyncio.sleep(0.02)
            writer.write(sent[cut:])
        writer.write(request(b'{"n": 2}'))
        bodies = [(await read_answer(reader))[2] for _ in range(3 if before else 2)]
        # The connection remains usable.
        writer.write(request(b'{"n": 3}'))
        assert (await read_answer(reader))[2] == b'fast {"n": 3}'
        writer.close()
    assert [body.split(b" ", 1)[1] for body in bodies] == [*([b'{"n": 0}'] if before else []), BODY, b'{"n": 2}']


@in_loop
async def test_other_headers_of_a_request_with_an_offer_are_kept() -> None:
    more = [b"Connection: Upgrade, close", b"Upgrade: h2c", b"X-API-Key: mine", b"Expect: 100-continue"]
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(request(line=b"POST /other?a=b HTTP/1.1", more=more))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        status, headers, body = await read_answer(reader)
        assert (status, body, headers["connection"]) == (200, b"application " + BODY, "close")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
    (scope,) = server.by_application
    assert (scope["path"], scope["query_string"]) == ("/other", b"a=b")
    assert (b"x-api-key", b"mine") in scope["headers"]
    assert not {b"upgrade"} & {name for name, _ in scope["headers"]}


@pytest.mark.parametrize(
    "sent",
    [
        b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n",
        WEBSOCKET.replace(b"Host", b"A: b\r\n" * 300 + b"Host"),
        WEBSOCKET.replace(b"Host", b"A: " + b"a" * 9000 + b"\r\nHost"),
        WEBSOCKET.replace(b"Host", b"Content-Length: 2\r\nHost") + b"{}",
    ],
    ids=["CONNECT", "many headers", "a long header", "a body"],
)
@in_loop
async def test_no_protocol_is_left_without_an_answer(sent: bytes) -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(sent)
        await expect_refusal(reader, 400, "not-http")
        writer.close()


HEADS = pytest.mark.parametrize("more", [b"", b"X-Plain: no\r\n"], ids=["fast path", "application"])


@HEADS
@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"Host: a\r\nHost: b\r\n",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a, b\r\n",
        b"Host: a,b\r\n",
        b"Host: a/b\r\n",
        b"Host: user@a\r\n",
        b"Host: a b\r\n",
        b"Host: a?b\r\n",
        b"Host: a#b\r\n",
        b"Host: http://a\r\n",
        b"Host: a:80:80\r\n",
        b"Host: a:eighty\r\n",
        b"Host: [::1\r\n",
        b"Host: ::1\r\n",
        b"Host: a%zz\r\n",
        b'Host: "a"\r\n',
        b"Host: <a>\r\n",
        b"Host: \xe4.example\r\n",
    ],
)
@in_loop
async def test_a_request_without_one_valid_host_is_refused(host: bytes, more: bytes) -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(request(without=b"host").replace(b"\r\n", b"\r\nX-Request-ID: mine.7\r\n" + host + more, 1))
        headers = await expect_refusal(reader, 400, "not-http")
        assert headers["x-request-id"] == "mine.7"
        assert server.counted == [("mine.7", 400)]
        writer.close()
    assert not server.batches
    assert not server.by_application


@HEADS
@pytest.mark.parametrize(
    "host", [b"a", b"A_b.example:3000", b"127.0.0.1:80", b"[::1]", b"[fe80::1]:3000", b"a%20b", b"", b"a:"]
)
@in_loop
async def test_a_valid_host_is_accepted(host: bytes, more: bytes) -> None:
    sent = request(without=b"host").replace(b"\r\n", b"\r\nHost: " + host + b"\r\n" + more, 1)
    async with listening(FastPathServer()) as server:
        assert (await server.send(sent))[0].endswith(BODY)
        assert len(server.batches) == (0 if more else 1)


@in_loop
async def test_http_1_0_needs_no_host() -> None:
    async with listening(FastPathServer()) as server:
        assert await server.send(b"GET / HTTP/1.0\r\n\r\n") == [b"application "]
        reader, writer = await server.connect()
        writer.write(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n")
        await expect_refusal(reader, 400, "not-http")
        writer.close()


@pytest.mark.parametrize(
    "line", [b"GET /", b"GET / HTTP/0.9", b"GET / HTTP/2.0", b"GET / HTTP/2", b"GET / HTTP/3.0", b"GET / HTTP/1.2"]
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
@in_loop
async def test_another_version_is_refused(line: bytes, method: bytes) -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        sent = request(line=line) if method == b"GET" else request(line=line.replace(b"GET /", b"POST /hot"))
        writer.write(sent)
        await expect_refusal(reader, 400, "not-http")
        writer.close()
    assert not server.batches
    assert not server.by_application


@in_loop
async def test_a_handshake_needs_a_valid_host() -> None:
    async with listening(FastPathServer()) as server:
        for host in (b"", b"Host: a\r\nHost: b\r\n", b"Host: a/b\r\n"):
            reader, writer = await server.connect()
            writer.write(WEBSOCKET.replace(b"Host: x\r\n", host))
            await expect_refusal(reader, 400, "not-http")
            writer.close()

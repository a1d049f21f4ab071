"""Clients that end their side of the connection: they receive every response, and a reset still cancels the work."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator

import pytest
import uvloop

from tests.serving.event_loop import in_loop, until
from tests.serving.server.fast_path.fast_path_server import BODY, FastPathServer, listening, read_answer, request

# The fast path leaves requests with this header to the application.
NOT_FAST = b"X-Plain: no"
DOORS = pytest.mark.parametrize("more", [(), (NOT_FAST,)], ids=["fast path", "application"])


@pytest.fixture(
    autouse=True, params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"]
)
def _loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run each test with the event loop of the standard library and with that of the service."""
    asyncio.set_event_loop_policy(request.param())
    yield
    asyncio.set_event_loop_policy(None)


@contextlib.asynccontextmanager
async def half_closed(server: FastPathServer, sent: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """Send `sent` and end the client's side."""
    reader, writer = await server.connect()
    writer.write(sent)
    writer.write_eof()
    yield reader
    writer.close()


@DOORS
@in_loop
async def test_every_client_that_waits_after_its_end_is_answered(more: tuple[bytes, ...]) -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold, hold_application=hold)) as server:
        async with contextlib.AsyncExitStack() as stack:
            sent = [request(b'{"n": %d}' % number, more=more) for number in range(100)]
            readers = [await stack.enter_async_context(half_closed(server, each)) for each in sent]
            await asyncio.sleep(0.25)
            hold.set()
            for number, reader in enumerate(readers):
                status, headers, body = await read_answer(reader)
                assert (status, headers["connection"]) == (200, "close")
                assert body.endswith(b'{"n": %d}' % number)
                assert await asyncio.wait_for(reader.read(), 10) == b""
        await until(lambda: server.connections == 0)


@DOORS
@in_loop
async def test_pipelined_requests_are_all_answered_after_the_end(more: tuple[bytes, ...]) -> None:
    hold = asyncio.Event()
    for rest in (b"", request()[:20], request(more=more)[:-2]):
        sent = b"".join(request(b'{"n": %d}' % n, more=more) for n in range(3)) + rest
        async with (
            listening(FastPathServer(hold=hold, hold_application=hold)) as server,
            half_closed(server, sent) as reader,
        ):
            await asyncio.sleep(0.05)
            hold.set()
            bodies = [(await read_answer(reader))[2] for _ in range(3)]
            assert [body[-2:-1] for body in bodies] == [b"0", b"1", b"2"]
            assert await asyncio.wait_for(reader.read(), 10) == b""


@in_loop
async def test_a_request_that_falls_back_is_answered_after_the_end() -> None:
    hold = asyncio.Event()
    async with (
        listening(FastPathServer(hold=hold, hold_application=hold)) as server,
        half_closed(server, request(b'{"odd": 1}')) as reader,
    ):
        await asyncio.sleep(0.05)
        hold.set()
        assert (await read_answer(reader))[2] == b'application {"odd": 1}'
        assert await asyncio.wait_for(reader.read(), 10) == b""


@in_loop
async def test_a_stream_continues_after_the_end() -> None:
    async with (
        listening(FastPathServer(pause_s=0.1)) as server,
        half_closed(server, request(line=b"POST /stream HTTP/1.1")) as reader,
    ):
        answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 1
    assert answer.endswith(b"part 0\npart 1\npart 2\n")


@in_loop
async def test_a_fault_behind_a_request_is_answered_after_the_end() -> None:
    hold = asyncio.Event()
    async with (
        listening(FastPathServer(hold=hold, hold_application=hold)) as server,
        half_closed(server, request() + b"\x00nonsense\r\n\r\n") as reader,
    ):
        await asyncio.sleep(0.05)
        hold.set()
        assert (await read_answer(reader))[2] == b"fast " + BODY
        assert (await read_answer(reader))[0] == 400
        assert await asyncio.wait_for(reader.read(), 2) == b""


@pytest.mark.parametrize("sent", [b"", request()[:30], request()[:-3], request(more=[NOT_FAST])[:-3]])
@in_loop
async def test_an_incomplete_request_is_dropped_at_the_end(sent: bytes) -> None:
    async with listening(FastPathServer()) as server, half_closed(server, sent) as reader:
        assert await asyncio.wait_for(reader.read(), 10) == b""
        await until(lambda: server.connections == 0)
    assert not server.batches


@DOORS
@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
@in_loop
async def test_a_closed_connection_cancels_the_request(is_reset: bool, more: tuple[bytes, ...]) -> None:
    hold = asyncio.Event()
    async with listening(FastPathServer(hold=hold, hold_application=hold)) as server:
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(request(more=more))
        await until(lambda: server.batches or server.by_application)
        if is_reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        async with asyncio.timeout(20):
            await until(lambda: server.connections == 0 and server.disconnected == server.by_application)
        hold.set()
    assert "status=499" in server.lines.getvalue() or server.disconnected

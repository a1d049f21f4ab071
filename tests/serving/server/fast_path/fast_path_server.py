"""A server in the event loop of a test, with one fast operation, `/hot`, and an application for other requests."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import uvicorn
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from models.errors import InvalidInput
from serving.observability.access_log import AccessLog
from serving.observability.metrics import service_metrics
from serving.observability.request_recorder import RequestRecorder
from serving.process.graceful_shutdown import GracefulShutdown
from serving.server.fast_path.batch_queue import MAX_WAITING, BatchQueue, FastOperation, Headers
from serving.server.fast_path.protocol import FastPathProtocol
from serving.server.http_protocol import HttpBounds
from serving.server.websocket_protocol import WebSocketProtocol
from tests.serving.quick_server import QuickServer

BODY = b'{"a": 1}'


@dataclass
class FastPathServer:
    """The behaviour of the server and the requests that it received. `call` replaces the fast operation `/hot`."""

    call: FastOperation | None = None
    admits: Callable[[Headers], bool] = lambda headers: True
    is_available: bool = True
    timeout_s: float = 30.0
    max_waiting: int = MAX_WAITING
    head_timeout_s: float = 20.0
    body_min_rate: int = 0
    keep_alive_s: float = 5.0
    # Request ids and statuses of responses by the protocol itself.
    counted: list[tuple[str, int]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    hold_application: asyncio.Event | None = None
    # The requests to the application whose client was disconnected before `hold_application`.
    disconnected: list[Scope] = field(default_factory=list)
    # The time between the parts of a stream.
    pause_s: float = 0.0
    error: Exception | None = None
    batches: list[list[bytes]] = field(default_factory=list)
    # Requests to the application, before and after it has read the body.
    begun_by_application: list[Scope] = field(default_factory=list)
    by_application: list[Scope] = field(default_factory=list)
    draining: GracefulShutdown = field(default_factory=lambda: GracefulShutdown(grace_s=5))
    lines: io.StringIO = field(default_factory=io.StringIO)
    server: uvicorn.Server | None = None
    port: int = 0

    async def answer_each(self, bodies: Sequence[bytes | bytearray]) -> list[bytes | Exception]:
        """Return `fast` and each body, or an error for a body with `odd`."""
        self.batches.append([bytes(body) for body in bodies])
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return [InvalidInput("odd") if b"odd" in body else b"fast " + bytes(body) for body in bodies]

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with `application` and the body, `early` before the body arrives, or a stream. Accept WebSockets."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        if scope["path"] == "/early":
            await Response(b"early")(scope, receive, send)
            return
        if scope["path"] == "/stream":
            await StreamingResponse(self._parts(), headers={"Content-Length": "21"})(scope, receive, send)
            return
        self.begun_by_application.append(scope)
        body = await Request(scope, receive).body()
        self.by_application.append(scope)
        if self.hold_application is not None:
            waits = [asyncio.ensure_future(each) for each in (self.hold_application.wait(), receive())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not self.hold_application.is_set():
                self.disconnected.append(scope)
            for each in waits:
                each.cancel()
        # As `routes.body.answer` does.
        answer = Response(b"application " + body, 200, {"Cache-Control": "no-store"}, "application/json")
        await answer(scope, receive, send)

    async def _parts(self) -> AsyncIterator[bytes]:
        for number in range(3):
            await asyncio.sleep(self.pause_s)
            yield b"part %d\n" % number

    async def send(self, data: bytes, *more: bytes, answers: int = 1) -> list[bytes]:
        """Send `data` and then each of `more` over one connection, and return the bodies of the responses."""
        reader, writer = await self.connect()
        try:
            for part in (data, *more):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01 if part is not data or more else 0)
            return [(await read_answer(reader))[2] for _ in range(answers)]
        finally:
            writer.close()
            await writer.wait_closed()

    @property
    def connections(self) -> int:
        """The number of open connections of the server."""
        assert self.server is not None
        return len(self.server.server_state.connections)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


def request(
    body: bytes = BODY, *, line: bytes = b"POST /hot HTTP/1.1", without: bytes = b"", more: Sequence[bytes] = ()
) -> bytes:
    """Return a request with additional header lines `more`, without lines that start with `without`."""
    lines = [b"Host: x", b"Content-Type: application/json", b"Content-Length: %d" % len(body), *more]
    selected = [each for each in lines if not (without and each.lower().startswith(without))]
    return b"\r\n".join([line, *selected, b"", body])


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the next response."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 120)).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


@contextlib.asynccontextmanager
async def listening(fast_server: FastPathServer) -> AsyncIterator[FastPathServer]:
    """Run `fast_server` on a free port."""
    call = fast_server.call or FastOperation(
        "/hot",
        fast_server.answer_each,
        lambda headers: fast_server.admits(headers),
        lambda: fast_server.is_available,
        fast_server.max_waiting,
    )
    batches = BatchQueue(
        call,
        RequestRecorder(service_metrics(), AccessLog(fast_server.lines)),
        fast_server.draining,
        timeout_s=fast_server.timeout_s,
    )
    bounds = HttpBounds(
        fast_server.head_timeout_s, fast_server.body_min_rate, lambda *answer: fast_server.counted.append(answer)
    )
    protocol = FastPathProtocol.using({call.path.encode(): batches}, bounds)
    server = fast_server.server = QuickServer(
        uvicorn.Config(
            fast_server.application,
            port=0,
            http=protocol,
            ws=WebSocketProtocol,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=fast_server.keep_alive_s,  # type: ignore[arg-type]  # it is only passed to `call_later`
        )
    )
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
        assert not task.done()
    fast_server.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield fast_server
    finally:
        server.should_exit = True
        await task
        assert fast_server.draining.in_flight == 0
        assert batches.recorder.access_log is not None
        batches.recorder.access_log.flush()
        service_metrics().flush()

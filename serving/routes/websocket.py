"""`/v1/ws/predict`: calls to the models over one WebSocket, several at a time.

A message is `{"id": ..., "model": NAME, "input": {...}}`; its input is the JSON body of
the model's own operation, a `"version"` asks for one version of it, and a `"priority"` for another priority than that
of the handshake. The answer is `{"id": ..., "status": "ok",
"result": {...}}`, or `"status": "error"` with a problem document as `error`. Answers come in the order in which they
are finished. `{"id": ..., "type": "ping"}` is answered with `"type": "pong"`.

The close codes are 1001 when the service stops, 1003 for a binary message, 1008 when the key is no longer valid, 1009
for a message that is too large, 1011 for an internal error, 4408 after too long without a message. A refused handshake
gets an HTTP response.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import Field, create_model
from pydantic_core import from_json, to_json
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from models.errors import InvalidInput, Overloaded, RunnerUnavailable
from models.limits import MAX_SAFE_INTEGER
from serving.access.guard import BEARER, Guard
from serving.context import (
    Priority,
    current_caller,
    current_priority,
    current_public_url,
    requesting_version,
    set_version_request,
)
from serving.errors.exceptions import Forbidden, Malformed, Unauthenticated
from serving.http.middleware.websocket_metrics import ANSWERED
from serving.http.priority import set_priority_of, set_requested_priority
from serving.http.problem_details import problem_of
from serving.http.requests.json_bounds import JsonBounds, check_json
from serving.http.version_selection import version_request_of
from serving.kinds.interface import Handler
from serving.kinds.json_operation import answer_body
from serving.schemas.fields import VERSION_PATTERN, Request
from serving.settings.settings import Settings
from serving.shared_limit import SharedLimit

log = logging.getLogger("makunouchi.errors")

PATH = "/v1/ws/predict"
MAX_IN_FLIGHT = 32
LOOK_EVERY_S = 0.25
MAX_FIELDS = 100
# RFC 6455, 7.4.1; 4408 is our own, after HTTP 408.
GOING_AWAY, NO_BINARY, NOT_ALLOWED, TOO_LARGE, FAULT, IDLE = 1001, 1003, 1008, 1009, 1011, 4408
Id = str | int | None


class Message(Request):
    """A message of a client."""

    id: Annotated[str, Field(max_length=256)] | Annotated[int, Field(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER)]
    type: Literal["predict", "ping"] = "predict"
    model: str | None = None
    input: dict[str, Any] | None = None
    version: Annotated[str, Field(pattern=VERSION_PATTERN)] | None = None
    priority: Priority | None = None


def message_type(models: Sequence[str]) -> type[Message]:
    """Return the type of messages that may name `models`."""
    if not models:
        return Message
    names: Any = Literal[tuple(models)]  # Any: a type made at run time
    return create_model(Message.__name__, __base__=Message, model=(names | None, None))


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of one connection and of all connections. `idle_s` 0 means no limit."""

    max_bytes: int
    max_open: int
    idle_s: float

    @classmethod
    def of(cls, settings: Settings) -> Bounds:
        """Return the bounds of the settings."""
        return cls(settings.max_body_bytes, settings.max_websockets, settings.websocket_idle_s)


class MessageHandler:
    """Answers messages with the models, by the names that messages use. `models` returns those that are served now."""

    def __init__(self, models: Callable[[], Mapping[str, Handler[Any]]]) -> None:
        self._models = models
        self._message: tuple[Mapping[str, Handler[Any]], type[Message]] | None = None

    @property
    def message(self) -> type[Message]:
        """The type of a message."""
        models = self._models()
        if self._message is None or self._message[0] is not models:
            self._message = models, message_type(tuple(models))
        return self._message[1]

    @property
    def bounds(self) -> JsonBounds:
        """The bounds of a message for any model."""
        parsing_us = max((handler.json_bounds.parsing_us for handler in self._models().values()), default=0)
        return JsonBounds(parsing_us, names=sys.maxsize)

    async def answer(self, message: Message) -> bytes:
        """Return the JSON of the model's response. Raises what its handler raises."""
        if message.model is None or message.input is None:
            raise InvalidInput("a message has a model and an input", location=("body", "model"))
        with requesting_version(message.version, location=("body", "version")):
            # Not by orjson, which reads no integer of more than 64 bits.
            body, handler = to_json(message.input), self._models()[message.model]
            await check_json(body, handler.json_bounds)
            return await answer_body(handler, body)


def route(
    messages: MessageHandler,
    guard: Guard,
    bounds: Bounds,
    *,
    origins: Sequence[str] = (),
    is_stopping: Callable[[], bool] = lambda: False,
) -> WebSocketRoute:
    """Return the route. Pages of this host and of `origins` may connect."""
    sockets = SharedLimit(bounds.max_open, name="WebSockets")

    async def endpoint(socket: WebSocket) -> None:
        try:
            _check_origin(socket, origins)
            if is_stopping():
                raise RunnerUnavailable("the service is stopping")
            await guard.admit(socket.scope, "predict")
            set_version_request(version_request_of(socket.scope, guard))
            set_priority_of(socket.scope)
            caller = current_caller()
            sockets.acquire(caller)
        except Exception as error:
            await socket.send_denial_response(problem_of(error, instance=PATH))
            return
        try:
            offered = socket.scope.get("subprotocols", ())
            await socket.accept(subprotocol=BEARER if BEARER in offered else None)
            await WebSocketSession(socket, messages, guard, bounds, is_stopping=is_stopping).run()
        finally:
            sockets.release(caller)

    return WebSocketRoute(PATH, endpoint, name="ws_predict")


class WebSocketSession:
    """One connection: reads messages until it ends, and answers each in a separate task."""

    def __init__(
        self,
        socket: WebSocket,
        messages: MessageHandler,
        guard: Guard,
        bounds: Bounds,
        *,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._socket = socket
        self._messages = messages
        self._guard = guard
        self._bounds = bounds
        self._note: Callable[[int, float], None] = socket.scope.get(ANSWERED, _count_nothing)
        self._last_message = time.monotonic()
        self._is_stopping = is_stopping
        self._in_flight: dict[str | int, asyncio.Task[None]] = {}
        self._sending = asyncio.Lock()
        self._is_admitted = True

    async def run(self) -> None:
        """Read and answer messages until the client leaves, or close the connection with a reason."""
        reading: asyncio.Task[Any] | None = None
        try:
            while True:
                reading = reading or asyncio.ensure_future(self._socket.receive())
                await asyncio.wait({reading}, timeout=LOOK_EVERY_S)
                if not self._is_admitted:
                    await self._close(NOT_ALLOWED, "the key is no longer valid")
                    return
                if self._is_stopping():
                    await asyncio.gather(*self._in_flight.values(), return_exceptions=True)
                    await self._close(GOING_AWAY, "the service is stopping")
                    return
                if self._is_idle() and not reading.done():
                    await self._close(IDLE, f"no message for {self._bounds.idle_s:g} s")
                    return
                if reading.done():
                    self._last_message = time.monotonic()
                    received, reading = reading.result(), None
                    if received["type"] == "websocket.disconnect" or not await self._take(received):
                        return
        except Exception:
            log.exception("a WebSocket broke off")
            await self._close(FAULT, "a fault of the service")
        finally:
            left = [*self._in_flight.values(), *([reading] if reading else [])]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _take(self, received: dict[str, Any]) -> bool:
        """Start to answer a message. Return False when the connection was closed for it."""
        text = received.get("text")
        if text is None:
            await self._close(NO_BINARY, "messages are JSON text")
            return False
        most = self._bounds.max_bytes
        if len(text) > most or len(data := text.encode()) > most:
            await self._close(TOO_LARGE, f"a message has at most {most} bytes")
            return False
        id_: Id = None
        try:
            await check_json(data, self._messages.bounds)
            content = parsed(text)
            id_ = _id_of(content)
            if isinstance(content, dict) and len(content) > MAX_FIELDS:
                raise InvalidInput(f"a message has at most {MAX_FIELDS} fields", location=("body",))
            message = self._messages.message.model_validate(content)
            if message.type == "ping":
                await self._send({"id": message.id, "type": "pong"})
                return True
            if message.id in self._in_flight:
                raise InvalidInput("a message with this id is in flight", location=("body", "id"))
            if len(self._in_flight) >= MAX_IN_FLIGHT:
                raise Overloaded(f"{MAX_IN_FLIGHT} messages of one connection are in flight")
        except Exception as error:
            await self._send(self._failure(id_, error, 0.0))
            return True
        self._in_flight[message.id] = asyncio.ensure_future(self._answer(message))
        return True

    def _is_idle(self) -> bool:
        silent_s = time.monotonic() - self._last_message
        return 0 < self._bounds.idle_s <= silent_s and not self._in_flight

    async def _answer(self, message: Message) -> None:
        started = time.perf_counter()
        try:
            # For every message: keys can be revoked, and limits count, while a connection is open.
            await self._guard.admit(self._socket.scope, "predict")
            set_requested_priority(self._socket.scope, message.priority or current_priority())
            result = await self._messages.answer(message)
            answer = b'{"id":%s,"status":"ok","result":%s}' % (orjson.dumps(message.id), result)
            self._note(200, time.perf_counter() - started)
        except Exception as error:
            answer = orjson.dumps(self._failure(message.id, error, time.perf_counter() - started))
            self._is_admitted = self._is_admitted and not isinstance(error, Unauthenticated | Forbidden)
        finally:
            self._in_flight.pop(message.id, None)
            self._last_message = time.monotonic()
        await self._send(answer)

    def _failure(self, id_: Id, error: Exception, seconds: float) -> dict[str, Any]:
        response = problem_of(error, instance=PATH)
        self._note(response.status_code, seconds)
        return {"id": id_, "status": "error", "error": orjson.loads(bytes(response.body))}

    async def _send(self, content: dict[str, Any] | bytes) -> None:
        text = content if isinstance(content, bytes) else orjson.dumps(content)
        # The client may have disconnected; the next read reports it.
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            async with self._sending:
                await self._socket.send_text(text.decode())

    async def _close(self, code: int, reason: str) -> None:
        if self._socket.application_state is not WebSocketState.DISCONNECTED:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await self._socket.close(code, reason)


def parsed(text: str) -> Any:  # Any: JSON
    """Return the JSON of a message. Raises Malformed."""
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"Invalid JSON: {str(error)[:200]}") from error


def _id_of(content: object) -> Id:
    id_ = content.get("id") if isinstance(content, dict) else None
    if isinstance(id_, str):
        return id_ if len(id_) <= 256 else None
    return id_ if type(id_) is int and abs(id_) <= MAX_SAFE_INTEGER else None


def _count_nothing(status: int, seconds: float) -> None:
    """Count nothing: without middleware around the application, as in tests."""


def _check_origin(socket: WebSocket, origins: Sequence[str]) -> None:
    """Raise Forbidden for a page of another host that the settings do not allow: browsers check no origin."""
    origin = socket.headers.get("origin")
    if origin is None or origin in origins or "*" in origins:
        return
    try:
        host = urlsplit(origin).netloc
    except ValueError:
        host = ""
    public = current_public_url().origin.partition("://")[2]
    if not host or host != (public or socket.headers.get("host")):
        raise Forbidden("pages of this origin may not connect; a setting allows them: MAKUNOUCHI_CORS_ORIGINS")

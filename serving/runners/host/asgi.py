"""The runner's end of the hop: `/hop/...` as one small ASGI application in front of BentoML's. Knows frames, no models.

POST /hop/{method}   one frame of questions -> one frame of answers; /hop/aside/{method}: nothing waits for these
GET  /hop/status     200 when the warm-up was answered, else 503; which version
GET  /hop/example    a frame with one valid question, 204 when there is none
GET  /hop/session    held open until this process stops or the gateway goes
POST /hop/reload     {"version": "..."}: load it beside the old one, swap; from this host only
POST /hop/versions   {"versions": ["..."]}: hold these beside the one that answers by default
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import ArtifactError, Overloaded
from serving.asgi import JSON_HEADERS, carries_pickle, disconnect_checker, reply, send_response
from serving.process.graceful_shutdown import GracefulShutdown
from serving.runners.host.instance import RunnerInstance
from serving.runners.wire import (
    MEDIA_TYPE,
    FrameInvalid,
    WireRequest,
    WireResponse,
    decode_requests,
    encode_requests,
    encode_responses,
)

log = logging.getLogger("makunouchi.runner")

MAX_FRAME_BYTES: Final = 256 << 20
# Beyond what any setting allows: a mistake must not fill the memory.
MAX_VERSIONS: Final = 16
_FRAME: Final = (b"content-type", MEDIA_TYPE.encode())

Answers = Callable[[str, Sequence[WireRequest], Callable[[], bool]], Awaitable[Sequence[WireResponse | Exception]]]


class FrameTooLarge(FrameInvalid):
    """More bytes than a frame may have."""


class RunnerApp:
    """Answers `/hop/...` and hands everything else to `inner`, except pickles, which nothing here reads.

    `hosted` gives the runner once it is there. `answer` asks one of its methods.
    """

    def __init__(
        self,
        inner: ASGIApp,
        *,
        hosted: Callable[[], RunnerInstance | None],
        answer: Answers,
        draining: Callable[[], GracefulShutdown],
    ) -> None:
        self._inner = inner
        self._hosted = hosted
        self._answer = answer
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        path: str = scope["path"]
        if path.startswith("/hop/"):
            await self._hop(scope["method"], path[5:], receive, send, is_local=_is_local(scope))
        elif carries_pickle(scope):
            await reply(send, 415, {"error": "UnsupportedMedia", "message": "pickle is not accepted"})
        else:
            await self._inner(scope, receive, send)

    async def _hop(self, method: str, name: str, receive: Receive, send: Send, *, is_local: bool) -> None:
        hosted = self._hosted()
        if method == "GET":
            if name == "session":
                await self._session(receive, send)
            elif name == "status":
                await _status(hosted, send)
            elif name == "example" and hosted is not None:
                await _example(hosted, send)
            else:
                await reply(send, 404, {"error": "NotKnown"})
        elif hosted is None:
            await reply(send, 503, {"error": "RunnerUnavailable"})
        elif method == "POST" and name == "reload":
            if is_local:
                await _reload(hosted, receive, send)
            else:
                await reply(send, 403, {"error": "ArtifactInvalid", "message": "reload it on its own host"})
        elif method == "POST" and name == "versions":
            await _hold(hosted, receive, send)
        elif method == "POST" and hosted.answering(name) is not None:
            await self._ask(name, receive, send)
        else:
            await reply(send, 404, {"error": "NotKnown"})

    async def _ask(self, name: str, receive: Receive, send: Send) -> None:
        draining = self._draining()
        draining.enter()
        try:
            questions = decode_requests(await _body(receive), now=time.monotonic())
            answers = await self._answer(name, questions, disconnect_checker(receive))
            pieces = encode_responses(answers)
        except FrameInvalid as error:
            log.warning("refused a frame: %s", error)
            await reply(send, 413 if isinstance(error, FrameTooLarge) else 400, {"error": "FrameInvalid"})
        except Overloaded:
            await reply(send, 503, {"error": "Overloaded"})
        except Exception:
            log.exception("a frame could not be answered")
            await reply(send, 500, {"error": "PredictionFailed"})
        else:
            await send_response(send, 200, [_FRAME], b"".join(pieces))
        finally:
            draining.leave()

    async def _session(self, receive: Receive, send: Send) -> None:
        """Held for as long as a gateway needs this process: the signal to stop waits for it."""
        draining = self._draining()
        draining.enter()
        gone_ = asyncio.ensure_future(_disconnected(receive))
        ending = asyncio.ensure_future(draining.sessions_end.wait())
        try:
            await asyncio.wait([gone_, ending], return_when=asyncio.FIRST_COMPLETED)
            if not gone_.done():
                await send_response(send, 200, JSON_HEADERS, b"{}")
        finally:
            gone_.cancel()
            ending.cancel()
            draining.leave()


async def _status(hosted: RunnerInstance | None, send: Send) -> None:
    if hosted is None:
        await reply(send, 503, {"detail": "starting"})
        return
    status = hosted.status
    said: dict[str, Any] = {"detail": status.detail, "model": None}  # Any: JSON
    if status.model is not None:
        said["model"] = {"name": status.model.name, "version": status.model.version}
        said["versions"] = status.versions
    await reply(send, 200 if status.ready else 503, said)


async def _example(hosted: RunnerInstance, send: Send) -> None:
    question = hosted.example()
    if question is None:
        await send_response(send, 204, [], b"")
        return
    await send_response(send, 200, [_FRAME], b"".join(encode_requests([question], now=time.monotonic())))


async def _reload(hosted: RunnerInstance, receive: Receive, send: Send) -> None:
    try:
        asked = orjson.loads(await _body(receive))
        version = asked.get("version")
        model = await hosted.reload(None if version is None else str(version))
    except ArtifactError as error:
        await reply(send, 409, {"error": type(error).__name__, "message": str(error)})
    except (FrameInvalid, ValueError, AttributeError):
        await reply(send, 400, {"error": "ArtifactInvalid", "message": "the request is not an object with a version"})
    else:
        await reply(send, 200, {"model": {"name": model.name, "version": model.version}})


async def _hold(hosted: RunnerInstance, receive: Receive, send: Send) -> None:
    # From any gateway that may ask it anything: one on another host has no other way to tell.
    try:
        asked = orjson.loads(await _body(receive))["versions"]
        held = await hosted.hold([str(version) for version in asked][:MAX_VERSIONS])
    except ArtifactError as error:
        await reply(send, 409, {"error": type(error).__name__, "message": str(error)})
    except (FrameInvalid, ValueError, KeyError, TypeError):
        await reply(send, 400, {"error": "ArtifactInvalid", "message": "the request is not an object with versions"})
    else:
        await reply(send, 200, {"versions": held})


def _is_local(scope: Scope) -> bool:
    """Whether the request came over a unix socket or from this host. Only such a gateway may change the model."""
    client = scope.get("client")
    return not client or client[0] in ("127.0.0.1", "::1")


async def _body(receive: Receive) -> bytes:
    message = await receive()
    if not message.get("more_body", False):
        return bytes(message.get("body", b""))
    chunks, size = [message["body"]], len(message["body"])
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise FrameInvalid("the gateway went away before the frame was complete")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_FRAME_BYTES:
            raise FrameTooLarge("the frame is too large")
    return b"".join(chunks)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""The runner's HTTP interface for gateways: `/runner/...`, as one ASGI application in front of BentoML's.

POST /runner/{method}    a frame of requests -> a frame of answers; /runner/low-priority/{method}: in separate threads
GET  /runner/status      200 when the warm-up was answered, else 503; the default version and the held ones
GET  /runner/example     a frame with one valid request; 204 when there is none
GET  /runner/session     stays open until this process stops or the gateway disconnects
POST /runner/reload      {"version": "..."}: load it and make it the default version; from this host only
POST /runner/versions    {"versions": ["..."]}: load these for the calls that name them

With a token, every request over TCP has to send it, except probes.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import ArtifactError, Overloaded
from serving.asgi import JSON_HEADERS, carries_pickle, disconnect_checker, reply, send_response
from serving.process.graceful_shutdown import GracefulShutdown
from serving.runners.host.frame_body import MAX_CONTROL_BYTES, FrameTooLarge, read_body, wait_for_disconnect
from serving.runners.host.instance import RunnerInstance
from serving.runners.wire import (
    MEDIA_TYPE,
    RUNNER_PATH,
    FrameInvalid,
    WireRequest,
    WireResponse,
    decode_requests,
    encode_requests,
    encode_responses,
)

log = logging.getLogger("makunouchi.runner")

# Above every setting: a mistake must not fill the memory.
MAX_VERSIONS: Final = 16
HEALTH_PROBES: Final = frozenset({"/livez", "/readyz", "/healthz"})
PROBES: Final = HEALTH_PROBES | {"/metrics"}
_REFUSED: Final = b'{"error":"Unauthenticated","message":"send the token of this runner as Authorization: Bearer"}'
_FRAME: Final = (b"content-type", MEDIA_TYPE.encode())

RunMethod = Callable[[str, Sequence[WireRequest], Callable[[], bool]], Awaitable[Sequence[WireResponse | Exception]]]


class RunnerApp:
    """Serves `/runner/...` and passes everything else to `inner`, except pickles, which are refused.

    `instance` returns the runner once it has started. `run` runs one of its methods. With a `token`, callers over TCP
    get 401 without it, except at `open_paths`.
    """

    def __init__(
        self,
        inner: ASGIApp,
        *,
        instance: Callable[[], RunnerInstance | None],
        run: RunMethod,
        draining: Callable[[], GracefulShutdown],
        token: str = "",
        open_paths: frozenset[str] = PROBES,
    ) -> None:
        self._inner = inner
        self._instance = instance
        self._run = run
        self._draining = draining
        self._credential = f"Bearer {token}".encode() if token else b""
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        path: str = scope["path"]
        if not self._admits(scope):
            await send_response(send, 401, [*JSON_HEADERS, (b"www-authenticate", b"Bearer")], _REFUSED)
        elif path.startswith(RUNNER_PATH):
            name, instance = path[len(RUNNER_PATH) :], self._instance()
            if scope["method"] == "GET":
                await self._get(name, instance, receive, send)
            elif instance is None:
                await reply(send, 503, {"error": "RunnerUnavailable"})
            elif scope["method"] == "POST":
                await self._post(name, instance, receive, send, is_local=_is_local(scope))
            else:
                await reply(send, 404, {"error": "NotKnown"})
        elif carries_pickle(scope):
            await reply(send, 415, {"error": "UnsupportedMedia", "message": "pickle is not accepted"})
        else:
            await self._inner(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        """Whether a request comes over a unix socket, names an open path, or has the token."""
        if not self._credential or not scope.get("client") or scope["path"] in self._open_paths:
            return True
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(sent, self._credential)

    async def _get(self, name: str, instance: RunnerInstance | None, receive: Receive, send: Send) -> None:
        if name == "session":
            await self._session(receive, send)
        elif name == "status":
            await _status(instance, send)
        elif name == "example" and instance is not None:
            await _example(instance, send)
        else:
            await reply(send, 404, {"error": "NotKnown"})

    async def _post(self, name: str, instance: RunnerInstance, receive: Receive, send: Send, *, is_local: bool) -> None:
        if name == "reload" and is_local:
            await _reload(instance, receive, send)
        elif name == "reload":
            await reply(send, 403, {"error": "ArtifactInvalid", "message": "reload it on its own host"})
        elif name == "versions":
            await _hold(instance, receive, send)
        elif instance.method(name) is not None:
            await self._call(name, receive, send)
        else:
            await reply(send, 404, {"error": "NotKnown"})

    async def _call(self, name: str, receive: Receive, send: Send) -> None:
        draining = self._draining()
        draining.enter()
        try:
            requests = decode_requests(await read_body(receive), now=time.monotonic())
            results = await self._run(name, requests, disconnect_checker(receive))
            pieces = encode_responses(results)
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
        """Keep this process alive for as long as a gateway needs it: a graceful shutdown waits for sessions."""
        draining = self._draining()
        draining.enter()
        disconnected = asyncio.ensure_future(wait_for_disconnect(receive))
        ending = asyncio.ensure_future(draining.sessions_end.wait())
        try:
            await asyncio.wait([disconnected, ending], return_when=asyncio.FIRST_COMPLETED)
            if not disconnected.done():
                await send_response(send, 200, JSON_HEADERS, b"{}")
        finally:
            disconnected.cancel()
            ending.cancel()
            draining.leave()


async def _status(instance: RunnerInstance | None, send: Send) -> None:
    if instance is None:
        await reply(send, 503, {"detail": "starting"})
        return
    status = instance.status
    document: dict[str, Any] = {"detail": status.detail, "model": None}  # Any: JSON
    if status.model is not None:
        document["model"] = {"name": status.model.name, "version": status.model.version}
        document["versions"] = status.versions
    if status.faults:
        document["faults"] = status.faults
    await reply(send, 200 if status.ready else 503, document)


async def _example(instance: RunnerInstance, send: Send) -> None:
    request = instance.example()
    if request is None:
        await send_response(send, 204, [], b"")
        return
    await send_response(send, 200, [_FRAME], b"".join(encode_requests([request], now=time.monotonic())))


async def _reload(instance: RunnerInstance, receive: Receive, send: Send) -> None:
    try:
        version = orjson.loads(await read_body(receive, max_bytes=MAX_CONTROL_BYTES)).get("version")
        model = await instance.reload(None if version is None else str(version))
    except ArtifactError as error:
        await reply(send, 409, {"error": type(error).__name__, "message": str(error)})
    except (FrameInvalid, ValueError, AttributeError):
        await reply(send, 400, {"error": "ArtifactInvalid", "message": "the request is not an object with a version"})
    else:
        await reply(send, 200, {"model": {"name": model.name, "version": model.version}})


async def _hold(instance: RunnerInstance, receive: Receive, send: Send) -> None:
    # From every gateway: one on another host shares no state file with this runner.
    try:
        versions = orjson.loads(await read_body(receive, max_bytes=MAX_CONTROL_BYTES))["versions"]
        held = await instance.hold([str(version) for version in versions][:MAX_VERSIONS])
    except ArtifactError as error:
        await reply(send, 409, {"error": type(error).__name__, "message": str(error)})
    except (FrameInvalid, ValueError, KeyError, TypeError):
        await reply(send, 400, {"error": "ArtifactInvalid", "message": "the request is not an object with versions"})
    else:
        await reply(send, 200, {"versions": held})


def _is_local(scope: Scope) -> bool:
    """Whether the request came over a unix socket or from this host: others may not change the default version."""
    client = scope.get("client")
    return not client or client[0] in ("127.0.0.1", "::1")

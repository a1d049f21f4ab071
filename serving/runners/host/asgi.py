"""The runner's HTTP interface for gateways: `/runner/...`, as one ASGI application in front of BentoML's.

GET  /runner/status             200 once the models were warmed up, else 503; the versions of each model
GET  /runner/session            stays open until this process stops or the gateway disconnects
POST /runner/load               {"name": "...", "entry": {...}}: load a model, or replace it; from this host only
POST /runner/unload             {"name": "..."}: drop a model; from this host only

and for each model, at /runner/models/{name}/..., or at /runner/... for the first one:

POST {method}                   a frame of requests -> a frame of answers
POST low-priority/{method}      the same in separate threads
GET  example                    a frame with one valid request; 204 when there is none
POST reload                     {"version": "..."}: load it and make it the default version; from this host only
POST versions                   {"versions": ["..."]}: load these for the calls that name them

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
from serving.runners.host.batch_method import BatchMethod
from serving.runners.host.frame_body import MAX_CONTROL_BYTES, FrameTooLarge, read_body, wait_for_disconnect
from serving.runners.host.instance import RunnerInstance
from serving.runners.host.models import HostedModels
from serving.runners.interface import RunnerStatus
from serving.runners.wire import (
    MEDIA_TYPE,
    MODELS,
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

RunMethod = Callable[
    [BatchMethod, Sequence[WireRequest], Callable[[], bool]], Awaitable[Sequence[WireResponse | Exception]]
]


class RunnerApp:
    """Serves `/runner/...` and passes everything else to `inner`, except pickles, which are refused.

    `models` returns the models once they are loaded. `run` runs one of their methods. With a `token`, callers over TCP
    get 401 without it, except at `open_paths`.
    """

    def __init__(
        self,
        inner: ASGIApp,
        *,
        models: Callable[[], HostedModels | None],
        run: RunMethod,
        draining: Callable[[], GracefulShutdown],
        token: str = "",
        open_paths: frozenset[str] = PROBES,
    ) -> None:
        self._inner = inner
        self._models = models
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
            await self._answer(path[len(RUNNER_PATH) :], self._models(), scope, receive, send)
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

    async def _answer(self, name: str, models: HostedModels | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request below `RUNNER_PATH`, where `name` is the rest of its path."""
        is_get = scope["method"] == "GET"
        if is_get and name == "session":
            await self._session(receive, send)
        elif is_get and name == "status":
            await _status(models, send)
        elif models is None:
            await reply(send, 503, {"error": "RunnerUnavailable"})
        elif scope["method"] == "POST" and name in _CHANGES:
            await (_CHANGES[name](models, receive, send) if _is_local(scope) else _refuse_change(send))
        else:
            model = ""
            if name.startswith(MODELS):
                model, _, name = name[len(MODELS) :].partition("/")
            await self._answer_model(name, models.get(model), scope, receive, send)

    async def _answer_model(
        self, name: str, instance: RunnerInstance | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        method = scope["method"]
        if instance is None:
            await reply(send, 503, {"error": "NotLoaded", "message": "this model is not loaded"})
        elif method == "GET" and name == "example":
            await _example(instance, send)
        elif method == "POST" and name == "reload":
            await (_reload(instance, receive, send) if _is_local(scope) else _refuse_change(send))
        elif method == "POST" and name == "versions":
            await _hold(instance, receive, send)
        elif method == "POST" and (batch_method := instance.method(name)) is not None:
            await self._call(batch_method, receive, send)
        else:
            await reply(send, 404, {"error": "NotKnown"})

    async def _call(self, method: BatchMethod, receive: Receive, send: Send) -> None:
        draining = self._draining()
        draining.enter()
        try:
            requests = decode_requests(await read_body(receive), now=time.monotonic())
            results = await self._run(method, requests, disconnect_checker(receive))
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


async def _status(models: HostedModels | None, send: Send) -> None:
    if models is None:
        await reply(send, 503, {"detail": "starting"})
        return
    status = models.status
    document: dict[str, Any] = {  # Any: JSON
        "detail": status.detail,
        "models": {name: _model_status(each) for name, each in models.statuses().items()},
    }
    if status.faults:
        document["faults"] = status.faults
    await reply(send, 200 if status.ready else 503, document)


def _model_status(status: RunnerStatus) -> dict[str, Any]:  # Any: JSON
    model = None if status.model is None else {"name": status.model.name, "version": status.model.version}
    return {"ready": status.ready, "model": model, "detail": status.detail, "versions": status.versions}


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


async def _load(models: HostedModels, receive: Receive, send: Send) -> None:
    try:
        request = orjson.loads(await read_body(receive, max_bytes=MAX_CONTROL_BYTES))
        instance = await models.load(str(request["name"]), dict(request["entry"]))
    except ArtifactError as error:
        await reply(send, 409, {"error": type(error).__name__, "message": str(error)})
    except (FrameInvalid, ValueError, KeyError, TypeError):
        await reply(send, 400, {"error": "ArtifactInvalid", "message": "the request has no name and entry"})
    else:
        await reply(send, 200, _model_status(instance.status))


async def _unload(models: HostedModels, receive: Receive, send: Send) -> None:
    try:
        name = str(orjson.loads(await read_body(receive, max_bytes=MAX_CONTROL_BYTES))["name"])
    except (FrameInvalid, ValueError, KeyError, TypeError):
        await reply(send, 400, {"error": "ArtifactInvalid", "message": "the request is not an object with a name"})
        return
    await models.unload(name)
    await reply(send, 200, {})


async def _refuse_change(send: Send) -> None:
    await reply(send, 403, {"error": "ArtifactInvalid", "message": "reload it on its own host"})


_CHANGES: Final = {"load": _load, "unload": _unload}


def _is_local(scope: Scope) -> bool:
    """Whether the request came over a unix socket or from this host: others may not change the default version."""
    client = scope.get("client")
    return not client or client[0] in ("127.0.0.1", "::1")

"""Problem documents (RFC 9457) as HTTP responses, for whatever went wrong. Knows errors and requests, no models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from models.errors import InputError
from serving.context import current_request_id
from serving.errors.exceptions import FieldFault, Refused
from serving.errors.faults import (
    Fault,
    ValueType,
    _location,
    faults_of,
)
from serving.errors.mapping import TABLE, detail_of, problem_type_of, report
from serving.errors.problem_types import MALFORMED, NOT_ALLOWED, NOT_FOUND, VALIDATION, ProblemType

MEDIA_TYPE = "application/problem+json"

# RFC 3986, 3.3
_IN_PATHS = "/:@!$&'()*+,;=-._~"

# Clients of the Open Inference Protocol look for `error`.
_INFERENCE = ("/v2/health/", "/v2/models/")

# Fields that are files, so that a fault of one is a fault of a file.
_FILES = ("image", "images")


def problem(
    kind: ProblemType,
    detail: str,
    *,
    instance: str,
    faults: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
    **members: Any,  # Any: JSON, extension members of the document
) -> Response:
    """A response that says what went wrong. `instance` is the path of the request."""
    document: dict[str, Any] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        # A URI reference: what a client put into the path is quoted as it was on its way.
        "instance": quote(instance, safe=_IN_PATHS),
        "request_id": current_request_id(),
        **members,
    }
    if instance.startswith(_INFERENCE):
        document["error"] = detail
    if faults:
        document["errors"] = [fault.model_dump() for fault in faults]
    sent = dict(headers or {})
    if kind.retry_after_s is not None:
        sent.setdefault("Retry-After", str(kind.retry_after_s))
    sent["Cache-Control"] = "no-store"
    return Response(orjson.dumps(document), kind.status, sent, MEDIA_TYPE)


def problem_of(error: Exception, *, instance: str) -> Response:
    """The response for any exception. Those that are this service's fault are logged, with the request id."""
    if isinstance(error, ValidationError):
        return _invalid(error, instance=instance)
    if isinstance(error, ClientDisconnect):
        return problem(MALFORMED, "The client went away before the body was complete", instance=instance)
    kind = problem_type_of(error)
    faults: list[Fault] = []
    report(error)
    if isinstance(error, InputError) and error.location:
        value_type: ValueType = "file" if error.location[-1] in _FILES else "string"
        if isinstance(error, FieldFault):
            value_type = error.value_type
        faults = [Fault(location=_location(error.location), message=detail_of(error), value_type=value_type)]
    headers = error.headers if isinstance(error, Refused) else None
    return problem(kind, detail_of(error), instance=instance, faults=faults, headers=headers)


def install(app: Starlette) -> None:
    """Make `app` answer with problem documents to whatever its routes raise, and to paths and methods it lacks."""

    async def on_http(request: Request, error: Exception) -> Response:
        return _routing_problem(app, request, error if isinstance(error, HTTPException) else HTTPException(500))

    async def on_error(request: Request, error: Exception) -> Response:
        return problem_of(error, instance=request.url.path)

    routed = app.router.default

    async def nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await routed(scope, receive, send)
            return
        detail = f"There is no WebSocket at {scope['path'][:200]}"
        socket = WebSocket(scope, receive, send)
        await socket.send_denial_response(problem(NOT_FOUND, detail, instance=scope["path"]))

    app.router.default = nothing_there
    app.add_exception_handler(HTTPException, on_http)
    for error in (*TABLE, ValidationError, ClientDisconnect):
        app.add_exception_handler(error, on_error)
    app.add_exception_handler(Exception, on_error)


def _routing_problem(app: Starlette, request: Request, error: HTTPException) -> Response:
    path = request.url.path
    if error.status_code == 404:
        return problem(NOT_FOUND, f"There is nothing at {path[:200]}; GET /v1 lists what there is", instance=path)
    if error.status_code == 405:
        allowed = allowed_methods(app, request)
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allowed})
        detail = f"{request.method[:20]} is not allowed here; allowed: {allowed}"
        return problem(NOT_ALLOWED, detail, instance=path, headers={"Allow": allowed})
    status = HTTPStatus(error.status_code)
    kind = ProblemType("http", status.value, status.phrase, status.description, fault_is_ours=status >= 500)
    return problem(kind, kind.description or status.phrase, instance=path, headers=error.headers)


def allowed_methods(app: Starlette, request: Request) -> str:
    """The value of `Allow` for the path of `request`."""
    methods = {"OPTIONS"}
    for route in app.routes:
        if route.matches(dict(request.scope))[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(methods))


def _invalid(error: ValidationError, *, instance: str) -> Response:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return problem(MALFORMED, first["msg"], instance=instance)
    faults = faults_of(error, within=("body",))
    where = ".".join(str(part) for part in faults[0].location)
    others = error.error_count() - 1
    more = f"; and {others} more" if others else ""
    return problem(VALIDATION, f"{where}: {faults[0].message}{more}", instance=instance, faults=faults)

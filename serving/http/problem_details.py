"""Problem documents (RFC 9457) as responses to errors, to unknown paths and to unsupported methods."""

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
from serving.context import current_request_id, public_path
from serving.errors.exceptions import FieldFault, Refused
from serving.errors.faults import Fault, ValueType, fault_location, faults_of, json_fault
from serving.errors.mapping import TABLE, detail_of, problem_type_of, report
from serving.errors.problem_types import MALFORMED, NOT_ALLOWED, NOT_FOUND, VALIDATION, ProblemType

MEDIA_TYPE = "application/problem+json"

# RFC 3986, 3.3
_SAFE_IN_PATHS = "/:@!$&'()*+,;=-._~"

# Clients of the Open Inference Protocol read the member `error`.
_OPEN_INFERENCE_PATHS = ("/v2/health/", "/v2/models/")


def problem(
    problem_type: ProblemType,
    detail: str,
    *,
    instance: str,
    faults: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
    **members: Any,  # Any: JSON, extension members of the document
) -> Response:
    """Return a problem document as a response. `instance` is the path of the request."""
    document: dict[str, Any] = {
        "type": public_path(problem_type.type),
        "title": problem_type.title,
        "status": problem_type.status,
        "detail": detail,
        # A URI reference, so the path is percent-encoded.
        "instance": quote(public_path(instance), safe=_SAFE_IN_PATHS),
        "request_id": current_request_id(),
        **members,
    }
    if instance.startswith(_OPEN_INFERENCE_PATHS):
        document["error"] = detail
    if faults:
        document["errors"] = [fault.model_dump() for fault in faults]
    response_headers = dict(headers or {})
    if problem_type.retry_after_s is not None:
        response_headers.setdefault("Retry-After", str(problem_type.retry_after_s))
    response_headers["Cache-Control"] = "no-store"
    return Response(orjson.dumps(document), problem_type.status, response_headers, MEDIA_TYPE)


def problem_of(error: Exception, *, instance: str) -> Response:
    """Return the response to an exception. Errors with status 500 and higher are logged with the request id."""
    if isinstance(error, ValidationError):
        return _validation_problem(error, instance=instance)
    if isinstance(error, ClientDisconnect):
        return problem(MALFORMED, "The client disconnected before the body was complete", instance=instance)
    problem_type = problem_type_of(error)
    faults: list[Fault] = []
    report(error)
    if isinstance(error, InputError) and error.location:
        value_type: ValueType = "file" if error.is_file else "string"
        if isinstance(error, FieldFault):
            value_type = error.value_type
        faults = [Fault(location=fault_location(error.location), message=detail_of(error), value_type=value_type)]
    headers = error.headers if isinstance(error, Refused) else None
    return problem(problem_type, detail_of(error), instance=instance, faults=faults, headers=headers)


def install(app: Starlette) -> None:
    """Make `app` answer errors of its routes, unknown paths and unsupported methods with problem documents."""

    async def on_http(request: Request, error: Exception) -> Response:
        return _routing_problem(app, request, error if isinstance(error, HTTPException) else HTTPException(500))

    async def on_error(request: Request, error: Exception) -> Response:
        return problem_of(error, instance=request.url.path)

    default = app.router.default

    async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await default(scope, receive, send)
            return
        detail = f"No WebSocket at {scope['path'][:200]}"
        socket = WebSocket(scope, receive, send)
        await socket.send_denial_response(problem(NOT_FOUND, detail, instance=scope["path"]))

    app.router.default = not_found
    app.add_exception_handler(HTTPException, on_http)
    for error in (*TABLE, ValidationError, ClientDisconnect):
        app.add_exception_handler(error, on_error)
    app.add_exception_handler(Exception, on_error)


def _routing_problem(app: Starlette, request: Request, error: HTTPException) -> Response:
    path = request.url.path
    if error.status_code == 404:
        return problem(NOT_FOUND, f"No resource at {path[:200]}; GET /v1 lists all operations", instance=path)
    if error.status_code == 405:
        allowed = allowed_methods(app, request)
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allowed})
        detail = f"{request.method[:20]} is not allowed for this path; allowed: {allowed}"
        return problem(NOT_ALLOWED, detail, instance=path, headers={"Allow": allowed})
    status = HTTPStatus(error.status_code)
    problem_type = ProblemType("http", status.value, status.phrase, status.description, is_internal=status >= 500)
    return problem(problem_type, problem_type.description or status.phrase, instance=path, headers=error.headers)


def allowed_methods(app: Starlette, request: Request) -> str:
    """Return the value of `Allow` for the path of `request`."""
    methods = {"OPTIONS"}
    for route in app.routes:
        if route.matches(dict(request.scope))[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(methods))


def _validation_problem(error: ValidationError, *, instance: str) -> Response:
    if message := json_fault(error):
        return problem(MALFORMED, message, instance=instance)
    faults = faults_of(error, within=("body",))
    location = ".".join(str(part) for part in faults[0].location)
    others = error.error_count() - 1
    suffix = f"; and {others} more" if others else ""
    return problem(VALIDATION, f"{location}: {faults[0].message}{suffix}", instance=instance, faults=faults)

"""The OpenAPI 3.1 document, built from the same operations as the routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import orjson

from serving.access.guard import Guard
from serving.concurrency import SharedResult
from serving.errors.problem_types import (
    FORBIDDEN,
    INTERNAL,
    KEYS_UNAVAILABLE,
    LIMITS_UNAVAILABLE,
    NOT_KNOWN,
    PRECONDITION_FAILED,
    RATE_LIMITED,
    RESOURCES_UNAVAILABLE,
    UNAUTHENTICATED,
    VALIDATION,
    ProblemType,
)
from serving.http.openapi.client_types import with_client_schemas, with_client_types
from serving.http.openapi.components import ComponentSchemas, ModelSchemas
from serving.http.openapi.headers import HEADERS, PRIORITY_PARAMETER, VERSION_PARAMETERS
from serving.http.openapi.served_versions import with_served_versions
from serving.http.operation import Content, JsonSchema, Operation
from serving.http.problem_details import MEDIA_TYPE
from serving.http.representation import Representation, RepresentationStart

TITLE = "Makunouchi"
DESCRIPTION = """\
One service, several models of several kinds.

Errors are problem documents (RFC 9457, `application/problem+json`) with a stable `type` and the id of the request. The
problem document of an invalid request lists the location of each fault. Times are in milliseconds. JSON bodies are
validated strictly: unknown fields and values of another type are rejected.

Every response has `X-Request-ID`, which is the client's own id if it is valid, and `X-Process-Time`. A client can
shorten the time limit of a request with `X-Request-Timeout`, in seconds; after that it receives 504.

`/v1/ws/predict` is a WebSocket that accepts the same bodies: `{"id": 1, "model": NAME, "input": {...}}`.
"""
TAGS = (
    ("jobs", "Large batches that are processed in the background."),
    ("models", "Served models: versions, cards, metrics, traffic."),
    ("inference", "The Open Inference Protocol, version 2, for clients of Triton and MLServer."),
    ("service", "Health, metrics and problem types."),
    ("bentoml", "The same operations at the paths of BentoML's `SyncHTTPClient` and `AsyncHTTPClient`."),
)
_LIMITS = ("RateLimit", "RateLimit-Policy")
_SCHEMES: Mapping[str, JsonSchema] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a signed token (JWT)."},
}
_REQUEST_ID = "01J9Z3N8Q6K4"


class OpenApiDocument:
    """The document of a list of operations.

    It is built once, in a thread, and again when `depends_on` returns other objects, the served cards, or `versions`
    other names: the versions that answer, by the names of the models.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        *,
        version: str,
        depends_on: Callable[[], tuple[object, ...]],
        versions: Callable[[], Mapping[str, str]] = dict,
        tags: Sequence[tuple[str, str]] = (),
        guard: Guard,
    ) -> None:
        self._operations = operations
        self._guard = guard
        self._version = version
        self._depends_on = depends_on
        self._versions = versions
        self._built_with: Mapping[str, str] = {}
        self._tags = (*tags, *TAGS)
        self._is_replaced = False
        self._built_from: tuple[object, ...] = ()
        self._start: SharedResult[RepresentationStart] | None = None

    def replace(self, operations: Sequence[Operation], tags: Sequence[tuple[str, str]]) -> None:
        """Describe other operations from now on."""
        self._operations, self._tags, self._is_replaced = operations, (*tags, *TAGS), True

    async def representation(self, server_url: str) -> Representation:
        """Return the document as JSON, with `server_url` as the server."""
        dependencies = self._depends_on()
        versions = self._versions()
        start = self._start
        if (
            start is None
            or self._is_replaced
            or versions != self._built_with
            or len(self._built_from) != len(dependencies)
            or any(old is not new for old, new in zip(self._built_from, dependencies, strict=True))
        ):
            self._is_replaced = False
            self._built_with = versions
            start = self._start = SharedResult(self._build)
            self._built_from = dependencies
        # The server comes last: all before it is the same in every response.
        servers = orjson.dumps({"servers": [{"url": server_url}]})
        return (await start.get()).ended(b"," + servers[1:])

    def _build(self) -> RepresentationStart:
        document = build(self._operations, tags=self._tags, version=self._version, guard=self._guard)
        document = with_served_versions(document, self._built_with)
        return RepresentationStart(orjson.dumps(document)[:-1], "application/json")


def build(
    operations: Sequence[Operation], *, tags: Sequence[tuple[str, str]], version: str, guard: Guard
) -> JsonSchema:
    """Return the document of `operations`, without servers."""
    schemas = ModelSchemas(operations)
    paths: dict[str, JsonSchema] = {}
    for operation in operations:
        described = _operation(operation, schemas.of_model(operation.model), guard)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": version, "description": DESCRIPTION},
        "tags": [{"name": name, "description": description} for name, description in tags],
        "paths": with_client_types(paths),
        "components": {
            "schemas": with_client_schemas(schemas.components),
            "headers": with_client_types(dict(HEADERS)),
            "securitySchemes": dict(_SCHEMES),
        },
    }


def _operation(operation: Operation, schemas: ComponentSchemas, guard: Guard) -> JsonSchema:
    described: JsonSchema = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        **({"description": operation.description} if operation.description else {}),
        "security": _security(operation, guard),
        "responses": _responses(operation, schemas, guard),
    }
    parameters = [*operation.parameters(), *(VERSION_PARAMETERS if operation.takes_version else ())]
    if operation.calls_model:
        parameters.append(PRIORITY_PARAMETER)
    if operation.is_conditional:
        parameters.append(
            {
                "name": "If-None-Match",
                "in": "header",
                "description": "`ETag` of the representation that the client has.",
                "schema": {"type": "string"},
            }
        )
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        bodies = _contents(operation.body, *operation.more_bodies, schemas=schemas)
        described["requestBody"] = {"required": not operation.is_body_optional, "content": bodies}
    return described


def _security(operation: Operation, guard: Guard) -> list[JsonSchema]:
    """Return the alternative security schemes; none for an open operation, and an empty one where none is required."""
    if guard.required_role(operation.access) is None:
        return []
    anonymous: list[JsonSchema] = [{}] if guard.is_optional(operation.access) else []
    return [*anonymous, *({name: []} for name in _SCHEMES)]


def _refusals(operation: Operation, guard: Guard) -> tuple[ProblemType, ...]:
    refusals: tuple[ProblemType, ...] = ()
    if guard.required_role(operation.access) is not None:
        refusals = (UNAUTHENTICATED, FORBIDDEN, *((KEYS_UNAVAILABLE,) if guard.takes_tokens else ()))
    if guard.limits.limits(operation.access):
        refusals = (*refusals, RATE_LIMITED, *(() if guard.limits.is_open_without else (LIMITS_UNAVAILABLE,)))
    return refusals


def _contents(*contents: Content, schemas: ComponentSchemas) -> JsonSchema:
    return {name: media for each in contents for name, media in _content(each, schemas).items()}


def _content(content: Content, schemas: ComponentSchemas) -> JsonSchema:
    media: JsonSchema = {"schema": schemas.of(content)}
    examples = content.examples()
    if examples:
        media["examples"] = {name: {"value": value} for name, value in examples.items()}
    if content.encoding:
        media["encoding"] = dict(content.encoding)
    return {content.media_type: media}


def _responses(operation: Operation, schemas: ComponentSchemas, guard: Guard) -> JsonSchema:
    success: tuple[str, ...] = ("X-Request-ID", "ETag") if operation.is_conditional else ("X-Request-ID",)
    if guard.limits.limits(operation.access):
        success = (*success, *_LIMITS)
    if operation.answered_by is not None:
        success = (*success, "X-Cache")
    success = (*success, *operation.answer_headers)
    response: JsonSchema = {"description": operation.answer_description, "headers": _headers(*success)}
    if operation.answer is not None:
        response["content"] = _contents(operation.answer, *operation.more_answers, schemas=schemas)
    responses: JsonSchema = {str(operation.status): response}
    if operation.links:
        responses[str(operation.status)]["links"] = dict(operation.links)
    for status, description in operation.more_answer_statuses.items():
        responses[str(status)] = {**response, "description": description}
    for status, description in operation.more_statuses.items():
        responses[str(status)] = {"description": description, "headers": _headers(*success)}
    if operation.is_conditional:
        responses["304"] = {"description": "The representation has not changed.", "headers": _headers(*success)}
    by_status: dict[int, list[ProblemType]] = {}
    # Whatever may fail unexpectedly may also lack a resource.
    failures = (*operation.problems, *((RESOURCES_UNAVAILABLE,) if INTERNAL in operation.problems else ()))
    problems = (
        # Every operation refuses unknown query parameters.
        VALIDATION,
        *failures,
        *((NOT_KNOWN,) if operation.takes_version else ()),
        *((PRECONDITION_FAILED,) if operation.has_preconditions else ()),
        *_refusals(operation, guard),
    )
    for kind in dict.fromkeys(problems):
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = _problem_response(kinds, operation.path, schemas)
    return responses


def _problem_response(kinds: Sequence[ProblemType], path: str, schemas: ComponentSchemas) -> JsonSchema:
    headers = ("X-Request-ID", "Retry-After") if any(kind.retry_after_s for kind in kinds) else ("X-Request-ID",)
    if RATE_LIMITED in kinds:
        headers = (*headers, *_LIMITS)
    if UNAUTHENTICATED in kinds:
        headers = (*headers, "WWW-Authenticate")
    examples = {kind.slug: {"summary": kind.title, "value": _problem_example(kind, path)} for kind in kinds}
    return {
        "description": " ".join(f"{kind.title}." for kind in kinds),
        "headers": _headers(*headers),
        "content": {MEDIA_TYPE: {"schema": schemas.problem(), "examples": examples}},
    }


def _problem_example(kind: ProblemType, path: str) -> JsonSchema:
    example: JsonSchema = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": kind.description,
        "instance": path,
        "request_id": _REQUEST_ID,
    }
    if kind.slug == "validation":
        fault = {"location": ["body"], "message": "Field required", "value_type": "absent"}
        return {**example, "errors": [fault]}
    return example


def _headers(*names: str) -> JsonSchema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}

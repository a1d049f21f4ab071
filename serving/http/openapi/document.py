"""The OpenAPI 3.1 document, made from the same operations as the routes. Knows operations, no requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from serving.access.guard import Guard
from serving.errors.problem_types import (
    FORBIDDEN,
    KEYS_UNAVAILABLE,
    LIMITS_UNAVAILABLE,
    NOT_KNOWN,
    RATE_LIMITED,
    UNAUTHENTICATED,
    ProblemType,
)
from serving.http.openapi.headers import CHOICE, HEADERS
from serving.http.operation import Content, JsonSchema, Operation, Schema
from serving.http.problem_details import MEDIA_TYPE
from serving.schemas.problems import Problem

_REF = "#/components/schemas/{model}"
TITLE = "Makunouchi"
DESCRIPTION = """\
One service, several models: an image classifier, a tabular model and a recommender.

Errors are problem documents (RFC 9457, `application/problem+json`): a stable `type`, the id of the request, and for a
request that is not valid the location of each fault. Times are in milliseconds. JSON bodies are read strictly: a field
that is not known and a value of another type are refused.

Every answer carries `X-Request-ID`, the client's own where it sent a sane one, and `X-Process-Time`. A client that has
no use for a late answer says so with `X-Request-Timeout`, in seconds: it gets 504 then.

`/v1/ws/predict` is a WebSocket that takes the same bodies: `{"id": 1, "model": "tabular", "input": {...}}`.
"""
TAGS = (
    ("images", "Classification of images."),
    ("tabular", "Predictions for rows of the table that the model was trained on."),
    ("recommendations", "Items for users."),
    ("users", "Users: what is known of them, people alike, groups."),
    ("items", "Items: found by title, described, those alike, the most popular."),
    ("feedback", "What users did: kept, and answered with at once."),
    ("jobs", "Batches too long for a request: sent once, answered in the background, fetched when done."),
    ("models", "What is served, how good it is, what it was made from."),
    ("inference", "The Open Inference Protocol, version 2: what Triton's and MLServer's clients call."),
    ("service", "How the service is."),
    ("bentoml", "The same calls at the paths that BentoML's `SyncHTTPClient` and `AsyncHTTPClient` use."),
)
_LIMITS = ("RateLimit", "RateLimit-Policy")
_SCHEMES: Mapping[str, JsonSchema] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a signed token (JWT)."},
}
_REQUEST_ID = "01J9Z3N8Q6K4"


class OpenApiDocument:
    """The document for a list of operations. Made anew when what it depends on has changed: the cards served."""

    def __init__(
        self,
        operations: Sequence[Operation],
        *,
        version: str,
        depends_on: Callable[[], tuple[object, ...]],
        guard: Guard,
    ) -> None:
        self._operations = operations
        self._guard = guard
        self._version = version
        self._depends_on = depends_on
        self._made_of: tuple[object, ...] = ()
        self._document: JsonSchema = {}

    def document(self, server_url: str) -> JsonSchema:
        """The document, with `server_url` as the server. Not to be changed by the caller."""
        made_of = self._depends_on()
        if not self._document or any(old is not new for old, new in zip(self._made_of, made_of, strict=True)):
            self._document = build(self._operations, version=self._version, guard=self._guard)
            self._made_of = made_of
        return {**self._document, "servers": [{"url": server_url}]}


def build(operations: Sequence[Operation], *, version: str, guard: Guard) -> JsonSchema:
    """The document of `operations`, without servers."""
    schemas = _Schemas(operations)
    paths: dict[str, JsonSchema] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas, guard)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": version, "description": DESCRIPTION},
        "tags": [{"name": name, "description": description} for name, description in TAGS],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "headers": dict(HEADERS),
            "securitySchemes": dict(_SCHEMES),
        },
    }


class _Schemas:
    """The JSON schemas of all operations: one component for each type."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        contents = [(body, "validation") for each in operations for body in (each.body, *each.more_bodies) if body]
        answers = [given for each in operations for given in (each.answer, *each.more_answers)]
        contents += [(given, "serialization") for given in answers if given]
        adapters: dict[int, tuple[int, JsonSchemaMode, TypeAdapter[Any]]] = {}
        self._schemas: dict[int, JsonSchema] = {}
        self.components: dict[str, JsonSchema] = {}
        self._of: dict[int, Schema] = {id(content): content.schema() for content, _ in contents if content}
        for content, mode in contents:
            schema = self._of[id(content)]
            if isinstance(schema, dict):
                self._add(schema)
            else:
                adapters[id(schema)] = (id(schema), mode, _adapter(schema))  # type: ignore[assignment]  # two literals
        problem = (id(Problem), "serialization", _adapter(Problem))
        made, shared = TypeAdapter.json_schemas([*adapters.values(), problem], ref_template=_REF)  # type: ignore[list-item]
        self._schemas |= {key: _with_component(schema, self.components) for (key, _), schema in made.items()}
        self.components |= shared.get("$defs", {})
        for content, _ in contents:
            if content and content.refine:
                content.refine(self.components)

    def of(self, content: Content) -> JsonSchema:
        """The schema of a body: a reference where it is a component."""
        return self._schemas[id(self._of[id(content)])]

    def problem(self) -> JsonSchema:
        """The schema of every error."""
        return self._schemas[id(Problem)]

    def _add(self, schema: JsonSchema) -> None:
        self._schemas[id(schema)] = _with_component(schema, self.components)


def _adapter(schema: type[BaseModel] | TypeAdapter[Any]) -> TypeAdapter[Any]:
    return schema if isinstance(schema, TypeAdapter) else TypeAdapter(schema)


def _with_component(schema: JsonSchema, components: dict[str, JsonSchema]) -> JsonSchema:
    """A reference to `schema`, which is put among the components, when it has a title and is not one already."""
    if "$ref" in schema or "title" not in schema:
        return schema
    components[schema["title"]] = schema
    return {"$ref": _REF.format(model=schema["title"])}


def _operation(operation: Operation, schemas: _Schemas, guard: Guard) -> JsonSchema:
    described: JsonSchema = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        **({"description": operation.description} if operation.description else {}),
        "security": _security(operation, guard),
        "responses": _responses(operation, schemas, guard),
    }
    parameters = [*operation.parameters(), *(CHOICE if operation.takes_version else ())]
    if operation.is_conditional:
        parameters.append(
            {
                "name": "If-None-Match",
                "in": "header",
                "description": "An `ETag` that the client has already.",
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
    """Any one of these: nothing at all where anybody may."""
    if guard.needs(operation.access) is None:
        return []
    return [{name: []} for name in _SCHEMES]


def _refusals(operation: Operation, guard: Guard) -> tuple[ProblemType, ...]:
    refusals: tuple[ProblemType, ...] = ()
    if guard.needs(operation.access) is not None:
        refusals = (UNAUTHENTICATED, FORBIDDEN, *((KEYS_UNAVAILABLE,) if guard.takes_tokens else ()))
    if guard.limits.limits(operation.access):
        refusals = (*refusals, RATE_LIMITED, *(() if guard.limits.is_open_without else (LIMITS_UNAVAILABLE,)))
    return refusals


def _contents(*contents: Content, schemas: _Schemas) -> JsonSchema:
    return {name: media for each in contents for name, media in _content(each, schemas).items()}


def _content(content: Content, schemas: _Schemas) -> JsonSchema:
    media: JsonSchema = {"schema": schemas.of(content)}
    examples = content.examples()
    if examples:
        media["examples"] = {name: {"value": value} for name, value in examples.items()}
    if content.encoding:
        media["encoding"] = dict(content.encoding)
    return {content.media_type: media}


def _responses(operation: Operation, schemas: _Schemas, guard: Guard) -> JsonSchema:
    success: tuple[str, ...] = ("X-Request-ID", "ETag") if operation.is_conditional else ("X-Request-ID",)
    if guard.limits.limits(operation.access):
        success = (*success, *_LIMITS)
    if operation.answered_by is not None:
        success = (*success, "X-Cache")
    success = (*success, *operation.answer_headers)
    answered: JsonSchema = {"description": operation.answer_description, "headers": _headers(*success)}
    if operation.answer is not None:
        answered["content"] = _contents(operation.answer, *operation.more_answers, schemas=schemas)
    responses: JsonSchema = {str(operation.status): answered}
    if operation.links:
        responses[str(operation.status)]["links"] = dict(operation.links)
    if operation.is_conditional:
        responses["304"] = {"description": "The client has it already.", "headers": _headers(*success)}
    by_status: dict[int, list[ProblemType]] = {}
    told = (*operation.problems, *((NOT_KNOWN,) if operation.takes_version else ()), *_refusals(operation, guard))
    for kind in dict.fromkeys(told):
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = _problem_response(kinds, operation.path, schemas)
    return responses


def _problem_response(kinds: Sequence[ProblemType], path: str, schemas: _Schemas) -> JsonSchema:
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

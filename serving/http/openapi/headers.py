"""Headers in the OpenAPI document: those of responses, and those that select a model version or a priority."""

from __future__ import annotations

from collections.abc import Mapping

from serving.context import PRIORITIES, VERSION_HEADER
from serving.http.operation import JsonSchema
from serving.http.priority import HEADER as PRIORITY_HEADER
from serving.http.version_selection import SESSION_HEADER

HEADERS: Mapping[str, JsonSchema] = {
    "X-Request-ID": {
        "description": "Id of the request: the client's own if it is valid, else a new one.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds to wait before a retry.", "schema": {"type": "integer", "minimum": 0}},
    "RateLimit": {
        "description": "Remaining quota: `r` requests now, the full quota in `t` seconds.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": "Quota of `q` requests in `w` seconds.", "schema": {"type": "string"}},
    "X-Cache": {
        "description": "With the response cache: `hit`, `miss`, or `bypass` for a response that is not cached.",
        "schema": {"type": "string", "enum": ["hit", "miss", "bypass"]},
    },
    "API-Version": {"description": "Version of the API.", "schema": {"type": "string"}},
    "Deprecation": {
        "description": "For a request with a deprecated field: its deprecation date, `@` and Unix seconds (RFC 9745).",
        "schema": {"type": "string"},
    },
    "Sunset": {"description": "End of service of the deprecated field (RFC 8594).", "schema": {"type": "string"}},
    "Link": {"description": "Successor of the deprecated field, and its documentation.", "schema": {"type": "string"}},
    "Location": {"description": "Path of the new resource.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "Authentication scheme.", "schema": {"type": "string"}},
    "ETag": {"description": "Identifier of this representation, for `If-None-Match`.", "schema": {"type": "string"}},
}
# Parameters of operations with several model versions.
VERSION_PARAMETERS: tuple[JsonSchema, ...] = (
    {
        "name": VERSION_HEADER,
        "in": "header",
        "description": "Version of the model to use, one of those that `GET /v1/models/{name}/traffic` lists.",
        "schema": {"type": "string"},
    },
    {
        "name": SESSION_HEADER,
        "in": "header",
        "description": "Session id. With a traffic split, all requests of a session use the same version.",
        "schema": {"type": "string"},
    },
)
# The parameter of operations that call a model.
PRIORITY_PARAMETER: JsonSchema = {
    "name": PRIORITY_HEADER,
    "in": "header",
    "description": "Priority of the request. Requests of `batch` wait for those of `interactive`, which wait for at "
    "most one call of `batch`.",
    "schema": {"type": "string", "enum": list(PRIORITIES), "default": PRIORITIES[0]},
}

"""The headers that the OpenAPI document tells of: of answers, and those by which a version is chosen."""

from __future__ import annotations

from collections.abc import Mapping

from serving.context import VERSION_HEADER
from serving.http.operation import JsonSchema
from serving.http.version_selection import SESSION_HEADER

HEADERS: Mapping[str, JsonSchema] = {
    "X-Request-ID": {
        "description": "Id of the request: the client's own where it sent a sane one.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer", "minimum": 0}},
    "RateLimit": {
        "description": "What is left of the policy: `r` requests now, all of them in `t` seconds.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": "`q` requests in `w` seconds.", "schema": {"type": "string"}},
    "X-Cache": {
        "description": "Where answers are kept: `hit` for one that was, `miss` for one that is now, else `bypass`.",
        "schema": {"type": "string", "enum": ["hit", "miss", "bypass"]},
    },
    "API-Version": {"description": "Version of the API that answered.", "schema": {"type": "string"}},
    "Deprecation": {
        "description": "Where the request used a deprecated field: since when it is, `@` and Unix seconds (RFC 9745).",
        "schema": {"type": "string"},
    },
    "Sunset": {"description": "Until when it is served (RFC 8594).", "schema": {"type": "string"}},
    "Link": {"description": "What comes after it.", "schema": {"type": "string"}},
    "Location": {"description": "Where the new resource is.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "How to say who calls.", "schema": {"type": "string"}},
    "ETag": {"description": "Version of this representation, for `If-None-Match`.", "schema": {"type": "string"}},
}
# How a caller chooses, or is told apart, where several versions of a model answer.
CHOICE: tuple[JsonSchema, ...] = (
    {
        "name": VERSION_HEADER,
        "in": "header",
        "description": "The version of the model that has to answer: one of those that "
        "`GET /v1/models/{name}/traffic` lists.",
        "schema": {"type": "string"},
    },
    {
        "name": SESSION_HEADER,
        "in": "header",
        "description": "Where requests are shared out between versions: those of one session go to the same one.",
        "schema": {"type": "string"},
    },
)

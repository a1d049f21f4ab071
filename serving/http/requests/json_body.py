"""Read JSON bodies, and write JSON responses."""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from models.errors import UnsupportedMedia
from serving.errors.exceptions import Malformed
from serving.header_fields import media_type
from serving.http.representation import is_known, weak_etag
from serving.http.requests.json_bounds import DEFAULT_BOUNDS, JsonBounds, check_json

JSON = "application/json"
# The Cache-Control of `resource`.
NO_CACHE = "no-cache"
PRIVATE_NO_CACHE = f"private, {NO_CACHE}"
T = TypeVar("T", bound=BaseModel)


async def read_json(request: Request, bounds: JsonBounds = DEFAULT_BOUNDS) -> bytes:
    """Return the body of a JSON request as bytes.

    Raises UnsupportedMedia, Malformed for an empty body, and as `check_json` for one over `bounds`.
    """
    check_content_type(request, JSON)
    body = await request.body()
    if not body:
        raise Malformed("the body is empty; a JSON object is expected")
    await check_json(body, bounds)
    return body


def check_content_type(request: Request, wanted: str) -> None:
    """Raise UnsupportedMedia unless the body has the media type `wanted`."""
    received = request.headers.get("content-type", "")
    if media_type(received) != wanted:
        reason = f"not '{received[:100]}'" if received else "and there is none"
        raise UnsupportedMedia(f"the Content-Type has to be {wanted}, {reason}")


def answer(model: BaseModel) -> Response:
    """Return a response 200 with `model` as JSON, which caches must not store."""
    return Response(model.__pydantic_serializer__.to_json(model), 200, {"Cache-Control": "no-store"}, JSON)


def resource(request: Request, content: BaseModel | dict[str, Any], *, vary: str = "") -> Response:
    """Return a response 200 with JSON and an ETag, or 304 when the client has this content (RFC 9110, 13.1.2)."""
    dump = content.__pydantic_serializer__.to_json if isinstance(content, BaseModel) else orjson.dumps
    body: bytes = dump(content)
    etag = weak_etag(hashlib.sha256(body).digest())
    headers = {"ETag": etag, "Cache-Control": NO_CACHE}
    if vary:
        headers["Vary"] = vary
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, JSON)

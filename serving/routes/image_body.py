"""One image in a request: a form, base64 or an address in JSON, or the body itself. Knows no model."""

from __future__ import annotations

import base64
import binascii

from pydantic import Field, TypeAdapter
from pydantic_core import from_json
from starlette.requests import Request

from serving.calls.images import ImageCalls
from serving.errors import FieldFault, Malformed
from serving.routes.body import JSON, check_content_type, read_json
from serving.routes.multipart import fields, files, read_parts
from serving.routes.operation import Content, JsonSchema
from serving.routes.query import Query, read_query
from serving.schemas.images import MAX_TOP_K, ClassifyFile, ClassifyOptions, ClassifyUrl

# What a body may be that is an image itself.
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp")
# A PNG of one red pixel.
RED_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQAY3Y2wAAAAAElFTkSuQmCC"


class ClassifyQuery(Query):
    """The options where the body is the image. In a form or in JSON they are fields, which count before these."""

    top_k: int | None = Field(None, ge=1, le=MAX_TOP_K, description="How many classes to answer at most.")
    threshold: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="Leave out classes with less confidence than this."
    )


async def read_image(request: Request, calls: ImageCalls) -> tuple[bytes, ClassifyOptions]:
    """The file and the options. Raises UnsupportedMedia, Malformed, FieldFault, pydantic's ValidationError."""
    options = read_query(request, ClassifyQuery).model_dump(exclude_none=True)
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given.startswith("image/"):
        check_content_type(request, given)
        return await request.body(), ClassifyOptions(**options)
    if given == JSON:
        return await _from_json(await read_json(request), options, calls)
    # One more than there are fields, so that an unknown one is named.
    parts = await read_parts(request, max_parts=1 + len(ClassifyOptions.model_fields) + 1)
    (image,) = files(parts, "image", at_most=1)
    return image, ClassifyOptions.model_validate(options | dict(fields(parts, beside="image")))


def image_bodies(calls: ImageCalls) -> tuple[Content, ...]:
    """The forms of the body beside the multipart one."""
    json_type = TypeAdapter(ClassifyFile | ClassifyUrl) if calls.fetches else TypeAdapter(ClassifyFile)
    file: JsonSchema = {"type": "string", "format": "binary"}
    return (
        Content(JSON, lambda: json_type, lambda: {"base64": {"image": RED_PIXEL, "top_k": 3}}),
        *(Content(media_type, lambda: file) for media_type in IMAGE_TYPES),
    )


async def _from_json(body: bytes, options: dict[str, object], calls: ImageCalls) -> tuple[bytes, ClassifyOptions]:
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"Invalid JSON: {str(error)[:200]}") from error
    return await image_of(content, options, calls)


async def image_of(content: object, options: dict[str, object], calls: ImageCalls) -> tuple[bytes, ClassifyOptions]:
    """The file and the options in a JSON body; `options` are those that it does not name.

    Raises FieldFault, pydantic's ValidationError, and what `ImageCalls.fetch` raises.
    """
    merged = options | content if isinstance(content, dict) else content
    if isinstance(content, dict) and "url" in content:
        by_url = ClassifyUrl.model_validate(merged)
        return await calls.fetch(by_url.url), by_url
    file = ClassifyFile.model_validate(merged)
    try:
        return base64.b64decode(file.image, validate=True), file
    except (binascii.Error, ValueError) as error:
        raise FieldFault("the image is not base64", location=("body", "image"), value_type="string") from error

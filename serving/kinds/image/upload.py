"""Read the image of a request: from a form, from base64 or a URL in JSON, or from the body itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, Field, TypeAdapter
from pydantic_core import from_json
from starlette.requests import Request

from serving.errors.exceptions import FieldFault, Malformed
from serving.http.operation import Content, JsonSchema
from serving.http.requests.base64_text import decode_base64
from serving.http.requests.json_body import JSON, check_content_type, read_json
from serving.http.requests.multipart import fields, files, read_parts
from serving.http.requests.query import Query, read_query
from serving.kinds.image.examples import RED_PIXEL
from serving.kinds.image.schemas import MAX_TOP_K, ClassifyFile, ClassifyOptions, ClassifyUrl

if TYPE_CHECKING:
    from serving.kinds.image.handler import ImageHandler

# What a body may be that is an image itself.
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp")


class ClassifyQuery(Query):
    """The options where the body is the image. In a form or in JSON they are fields, which count before these."""

    top_k: int | None = Field(None, ge=1, le=MAX_TOP_K, description="How many classes to answer at most.")
    threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Leave out classes with less confidence than this. Version 2 handler it `min_confidence`.",
        json_schema_extra={"deprecated": True},
    )


OptionsT = TypeVar("OptionsT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Reading(Generic[OptionsT]):
    """The types of one version of the call: its options, in the query, as form fields, and with an image in JSON.

    `texts` are the form fields that are text even where it looks like a number.
    """

    query: type[Query]
    options: type[OptionsT]
    file: type[OptionsT]
    url: type[OptionsT]
    texts: tuple[str, ...] = ()


CLASSIFY_V1: Reading[ClassifyOptions] = Reading(ClassifyQuery, ClassifyOptions, ClassifyFile, ClassifyUrl)


async def read_image(request: Request, handler: ImageHandler, reading: Reading[OptionsT]) -> tuple[bytes, OptionsT]:
    """The file and the options. Raises UnsupportedMedia, Malformed, FieldFault, pydantic's ValidationError."""
    options = read_query(request, reading.query).model_dump(exclude_none=True)
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given.startswith("image/"):
        check_content_type(request, given)
        return await request.body(), reading.options(**options)
    if given == JSON:
        return await image_in_json(await read_json(request), options, handler, reading)
    # One more than there are fields, so that an unknown one is named.
    parts = await read_parts(request, max_parts=1 + len(reading.options.model_fields) + 1)
    (image,) = files(parts, "image", at_most=1)
    return image, reading.options.model_validate(options | dict(fields(parts, beside="image", texts=reading.texts)))


def image_bodies(handler: ImageHandler, reading: Reading[OptionsT]) -> tuple[Content, ...]:
    """Return the other forms of the body: JSON, and the file itself."""
    either: Any = reading.file | reading.url if handler.fetches else reading.file  # Any: a type, or a union of two
    json_type: TypeAdapter[Any] = TypeAdapter(either)
    file: JsonSchema = {"type": "string", "format": "binary"}
    return (
        Content(JSON, lambda: json_type, lambda: {"base64": {"image": RED_PIXEL, "top_k": 3}}),
        *(Content(media_type, lambda: file) for media_type in IMAGE_TYPES),
    )


async def image_in_json(
    body: bytes, options: dict[str, object], handler: ImageHandler, reading: Reading[OptionsT]
) -> tuple[bytes, OptionsT]:
    """Return the file and the options in a JSON body; `options` are the defaults of those that it does not name.

    Raises Malformed, FieldFault, pydantic's ValidationError, and as `ImageHandler.fetch`.
    """
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"Invalid JSON: {str(error)[:200]}") from error
    merged = options | content if isinstance(content, dict) else content
    if isinstance(content, dict) and "url" in content:
        by_url: Any = reading.url.model_validate(merged)  # Any: a model with `url`
        return await handler.fetch(by_url.url), by_url
    file: Any = reading.file.model_validate(merged)  # Any: a model with `image`
    try:
        return await decode_base64(file.image), file
    except ValueError as error:
        raise FieldFault("the image is not base64", location=("body", "image"), value_type="string") from error

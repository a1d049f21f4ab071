"""Read the image of a request: from a form, from base64 or a URL in JSON, or from the body itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, Field, TypeAdapter
from pydantic_core import from_json
from starlette.requests import Request

from serving.errors.exceptions import FieldFault, Malformed
from serving.header_fields import media_type
from serving.http.operation import Content, JsonSchema, Operation
from serving.http.requests.base64_text import decode_base64
from serving.http.requests.json_body import JSON, read_json
from serving.http.requests.multipart import fields, files, read_parts
from serving.http.requests.query import Query, parameters_of, read_query
from serving.jobs.decoding.media_types import UNSPECIFIC
from serving.kinds.image.examples import RED_PIXEL
from serving.kinds.image.schemas import MAX_TOP_K, ClassifyFile, ClassifyOptions, ClassifyUrl

if TYPE_CHECKING:
    from serving.kinds.image.handler import ImageHandler

# The media type of a body that is the image itself; those of images are read too.
FILE = "application/octet-stream"


class JobQuery(Query):
    """The options of a job."""

    top_k: int | None = Field(None, ge=1, le=MAX_TOP_K, description="How many classes to answer at most.")
    threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Leave out classes with less confidence than this. Version 2 calls it `min_confidence`.",
        json_schema_extra={"deprecated": True},
    )


class ClassifyQuery(JobQuery):
    """The options where the body is the image. In a form or in JSON they are fields, which count before these."""

    model: str | None = Field(None, min_length=1, max_length=128, description="Name of an image model that is served.")


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


CLASSIFY_V1: Reading[ClassifyOptions] = Reading(
    ClassifyQuery, ClassifyOptions, ClassifyFile, ClassifyUrl, texts=("model",)
)


async def read_image(request: Request, handler: ImageHandler, reading: Reading[OptionsT]) -> tuple[bytes, OptionsT]:
    """The file and the options. Raises UnsupportedMedia, Malformed, FieldFault, pydantic's ValidationError."""
    options = read_query(request, reading.query).model_dump(exclude_none=True)
    given = media_type(request.headers.get("content-type", ""))
    if given.startswith("image/") or given in UNSPECIFIC:
        return await request.body(), reading.options(**options)
    if given == JSON:
        return await image_in_json(await read_json(request), options, handler, reading)
    # One more than there are fields, so that an unknown one is named.
    parts = await read_parts(request, max_parts=1 + len(reading.options.model_fields) + 1)
    (image,) = files(parts, "image", at_most=1)
    return image, reading.options.model_validate(options | dict(fields(parts, beside="image", texts=reading.texts)))


def with_other_bodies(
    form: Operation, handler: ImageHandler, reading: Reading[OptionsT], *, version: str = ""
) -> list[Operation]:
    """Return `form`, whose body is a form, and the same call with JSON and with the file itself as the body.

    All three read every body. Separate operations keep generators of clients from a choice: some take JSON for all.
    """
    either: Any = reading.file | reading.url if handler.fetches else reading.file  # Any: a type, or a union of two
    json_type: TypeAdapter[Any] = TypeAdapter(either)
    file: JsonSchema = {"type": "string", "format": "binary"}
    query = tuple(reading.query.model_fields)
    return [
        replace(form, more_parameters=query),
        replace(
            form,
            id=f"classify_image_json{version}",
            path=f"{form.path}-json",
            summary=f"{form.summary}, in JSON",
            description=f"As `{form.id}`, with the image as base64 in JSON, or its URL where fetching is enabled.",
            body=Content(JSON, lambda: json_type, lambda: {"base64": {"image": RED_PIXEL, "top_k": 3}}),
            more_parameters=query,
        ),
        replace(
            form,
            id=f"classify_image_file{version}",
            path=f"{form.path}-file",
            summary=f"{form.summary}, which is the body",
            description=f"As `{form.id}`, with the file as the body, of any media type: the content decides.",
            body=Content(FILE, lambda: file),
            parameters=lambda: parameters_of(reading.query),
        ),
    ]


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

"""The operations that classify images: multipart in, JSON out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from models.card import Card
from serving.http.deprecation import HEADERS, THRESHOLD
from serving.http.operation import CALL_PROBLEMS, Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON, answer
from serving.http.requests.multipart import MULTIPART, fields, files, read_parts
from serving.kinds.image.schemas import BatchClassification, Classification, ClassifyOptions, ClassifyUrl
from serving.kinds.image.upload import CLASSIFY_V1, read_image, with_other_bodies
from serving.schemas.fields import EXAMPLE_VERSION

if TYPE_CHECKING:
    from serving.kinds.image.handler import ImageHandler

READS = "JPEG, PNG, WebP, GIF (its first frame) or BMP"
_CONTENT_TYPES = "image/jpeg, image/png, image/webp, image/gif, image/bmp"
OPTIONS = len(ClassifyOptions.model_fields)


def operations(handler: ImageHandler) -> list[Operation]:
    """`classify_image`, the same with other bodies, and `classify_images`."""
    return [*with_other_bodies(_classify_image(handler), handler, CLASSIFY_V1), _classify_images(handler)]


def _classify_image(handler: ImageHandler) -> Operation:
    return Operation(
        id="classify_image",
        answered_by=handler.model.answering,
        method="POST",
        takes_version=True,
        path="/v1/images/classify",
        tag="images",
        summary="Classify an image",
        description=(
            f"{READS}; grey, palette, transparent, CMYK and 16-bit ones too. EXIF rotation is honoured. A "
            "truncated image is refused, and one with too many pixels before it is decoded. AVIF, HEIC, TIFF and JPEG "
            "2000 are not read."
        ),
        handler=lambda request: classify_v1(request, handler),
        body=image_form(_v1_fields(), "ClassifyForm"),
        answer=Content(JSON, lambda: Classification, lambda: {"classified": example_v1(handler)}),
        answer_description="The classes of the image, best first.",
        answer_headers=HEADERS,
        problems=CALL_PROBLEMS,
    )


async def classify_v1(request: Request, handler: ImageHandler) -> Response:
    """Answer a request of version 1."""
    image, options = await read_image(request, handler, CLASSIFY_V1)
    response = answer(await handler.classify(image, options))
    if "threshold" in options.model_fields_set:
        THRESHOLD.mark(response)
    if isinstance(options, ClassifyUrl):
        # The URL may have another image the next time: no cache may answer (RFC 9110, 12.5.5).
        response.headers["Vary"] = "*"
    return response


def _v1_fields() -> JsonSchema:
    """The fields of the form; `threshold` is deprecated here, and in no call that has no version 2."""
    properties: JsonSchema = ClassifyOptions.model_json_schema()["properties"]
    return {**properties, "threshold": {**properties["threshold"], "deprecated": True}}


def _classify_images(handler: ImageHandler) -> Operation:
    async def classify_many(request: Request) -> Response:
        # One more than allowed is read, so that one too many gets its own message.
        parts = await read_parts(request, max_parts=2 * handler.max_images + OPTIONS + 1)
        images = files(parts, "images", at_most=handler.max_images)
        options = ClassifyOptions.model_validate(fields(parts, beside="images", texts=("model",)))
        return answer(await handler.classify_many(images, options))

    form, encoding = batch_form(handler.max_images)
    return Operation(
        id="classify_images",
        answered_by=handler.model.answering,
        method="POST",
        takes_version=True,
        path="/v1/images/classify-batch",
        tag="images",
        summary="Classify several images",
        description=f"Up to {handler.max_images} files: {READS}. An image that cannot be read fails alone.",
        handler=classify_many,
        body=Content(MULTIPART, lambda: form, encoding=encoding),
        answer=Content(JSON, lambda: BatchClassification, lambda: {"batch": _batch(handler.model.card)}),
        answer_description="One result or one error per image, in the order of the request.",
        problems=CALL_PROBLEMS,
    )


def batch_form(max_images: int) -> tuple[JsonSchema, JsonSchema]:
    """The schema of a form of several images, and the encoding of its parts."""
    schema = _form("images", _file_list(max_images), ClassifyOptions.model_json_schema()["properties"])
    return {**schema, "title": "ClassifyBatchForm"}, {"images": {"contentType": _CONTENT_TYPES}}


def image_form(options: JsonSchema, title: str) -> Content:
    """A form of one image and `options`."""
    schema = {**_form("image", _file(), options), "title": title}
    return Content(MULTIPART, lambda: schema, encoding={"image": {"contentType": _CONTENT_TYPES}})


def _file() -> JsonSchema:
    # `format` is what clients and generators of OpenAPI 3.0 know a file by; 3.1 says contentMediaType.
    return {
        "type": "string",
        "format": "binary",
        "contentMediaType": "application/octet-stream",
        "description": f"A file: {READS}.",
    }


def _file_list(max_images: int) -> JsonSchema:
    return {"type": "array", "items": _file(), "minItems": 1, "maxItems": max_images, "description": "The files."}


def _form(name: str, file: JsonSchema, options: JsonSchema) -> JsonSchema:
    return {
        "type": "object",
        "properties": {name: file, **{name: _as_field(option) for name, option in options.items()}},
        "required": [name],
        "additionalProperties": False,
    }


def _as_field(option: JsonSchema) -> JsonSchema:
    """Return the schema of an option as a field of a form, which is left out where JSON has null."""
    if "anyOf" not in option:
        return option
    (schema,) = (each for each in option["anyOf"] if each != {"type": "null"})
    return {**{key: value for key, value in option.items() if key not in ("anyOf", "default")}, **schema}


def _predictions(card: Card) -> list[dict[str, Any]]:
    shares = (0.62, 0.21, 0.04, 0.02, 0.01)
    return [
        {"class_id": class_id, "label": label, "confidence": share}
        for class_id, (label, share) in enumerate(zip(card.classes, shares, strict=False))
    ]


def example_v1(handler: ImageHandler) -> dict[str, Any]:
    """An answer of version 1."""
    card = handler.model.card
    return {"model": _model(card), "predictions": _predictions(card), "inference_time_ms": 8.4}


def _batch(card: Card) -> dict[str, Any]:
    error = {
        "type": "/problems/validation",
        "title": "The request is not valid",
        "status": 422,
        "detail": "the image is truncated",
    }
    return {
        "model": _model(card),
        "results": [
            {"status": "ok", "index": 0, "predictions": _predictions(card)},
            {"status": "error", "index": 1, "error": error},
        ],
        "inference_time_ms": 12.5,
    }


def _model(card: Card) -> dict[str, str]:
    return {"name": card.name, "version": EXAMPLE_VERSION}

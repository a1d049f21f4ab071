"""Version 2 of the classification of an image, and the path whose version is in a header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypeAliasType

from serving.errors.exceptions import UnknownApiVersion
from serving.errors.problem_types import NO_EMBEDDING, NOT_KNOWN, UNKNOWN_API_VERSION
from serving.http.deprecation import HEADERS
from serving.http.operation import CALL_PROBLEMS, Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON, answer
from serving.http.requests.query import Flag, Query
from serving.kinds.image.routes import READS, classify_v1, example_v1, image_form
from serving.kinds.image.schemas import MAX_TOP_K, Classification
from serving.kinds.image.schemas_v2 import ClassificationV2, ClassifyFileV2, ClassifyOptionsV2, ClassifyUrlV2
from serving.kinds.image.upload import ClassifyQuery, Reading, read_image, with_other_bodies
from serving.schemas.fields import VERSION_PATTERN

if TYPE_CHECKING:
    from serving.kinds.image.handler import ImageHandler

VERSION_HEADER = "API-Version"
VERSIONS = ("1", "2")

ClassificationOfBoth = TypeAliasType("ClassificationOfBoth", Classification | ClassificationV2)


class ClassifyQueryV2(Query):
    """The options where the body is the image. In a form or in JSON they are fields, which count before these."""

    top_k: int | None = Field(None, ge=1, le=MAX_TOP_K, description="How many classes to answer at most.")
    min_confidence: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="Leave out classes with less confidence than this."
    )
    embedding: Flag | None = Field(None, description="Whether to answer the penultimate features too.")
    model: str | None = Field(None, min_length=1, max_length=128, description="Name of an image model that is served.")
    version: str | None = Field(None, pattern=VERSION_PATTERN, description="A version of it that answers.")


CLASSIFY_V2 = Reading(ClassifyQueryV2, ClassifyOptionsV2, ClassifyFileV2, ClassifyUrlV2, texts=("model", "version"))


def operations(handler: ImageHandler) -> list[Operation]:
    """`classify_image_v2`, the same with other bodies, and `classify_image_by_header` at the path without a version."""
    return [*with_other_bodies(_classify(handler), handler, CLASSIFY_V2, version="_v2"), _by_header(handler)]


def _classify(handler: ImageHandler) -> Operation:
    return Operation(
        id="classify_image_v2",
        answered_by=handler.model.answering,
        method="POST",
        takes_version=True,
        path="/v2/images/classify",
        tag="images",
        summary="Classify an image, version 2",
        description=(
            f"{READS}. As `classify_image`, with the model and its version by name, and `embedding`: the penultimate "
            "features of the network. `min_confidence` is what version 1 calls `threshold`."
        ),
        handler=lambda request: _classify_v2(request, handler),
        body=image_form(ClassifyOptionsV2.model_json_schema()["properties"], "ClassifyFormV2"),
        answer=Content(JSON, lambda: ClassificationV2, lambda: {"classified": _example(handler)}),
        answer_description="The classes of the image, best first, and its embedding where requested.",
        problems=(*CALL_PROBLEMS, NOT_KNOWN, NO_EMBEDDING),
    )


def _by_header(handler: ImageHandler) -> Operation:
    async def classify(request: Request) -> Response:
        version = api_version(request)
        response = await (classify_v1(request, handler) if version == "1" else _classify_v2(request, handler))
        response.headers[VERSION_HEADER] = version
        response.headers.setdefault("Vary", VERSION_HEADER)
        return response

    both: TypeAdapter[Any] = TypeAdapter(ClassificationOfBoth)
    return Operation(
        id="classify_image_by_header",
        answered_by=handler.model.answering,
        method="POST",
        takes_version=True,
        path="/images/classify",
        tag="images",
        summary="Classify an image, in the version that a header says",
        description="`API-Version: 2` is `classify_image_v2`; `1`, and no header, is `classify_image`.",
        handler=classify,
        parameters=lambda: (_HEADER,),
        more_parameters=tuple(ClassifyQuery.model_fields | ClassifyQueryV2.model_fields),
        body=image_form({"top_k": ClassifyOptionsV2.model_json_schema()["properties"]["top_k"]}, "ClassifyFormOfBoth"),
        answer=Content(JSON, lambda: both, lambda: {"1": example_v1(handler), "2": _example(handler)}),
        answer_description="The answer of that version.",
        answer_headers=(VERSION_HEADER, *HEADERS),
        problems=(*CALL_PROBLEMS, NOT_KNOWN, NO_EMBEDDING, UNKNOWN_API_VERSION),
    )


def api_version(request: Request) -> Literal["1", "2"]:
    """The version of the API that a request asks for. Raises UnknownApiVersion with those that are known."""
    match request.headers.get(VERSION_HEADER, "1").strip():
        case "1":
            return "1"
        case "2":
            return "2"
        case other:
            raise UnknownApiVersion(f"{VERSION_HEADER} '{other[:100]}' is not known; known: {', '.join(VERSIONS)}")


async def _classify_v2(request: Request, handler: ImageHandler) -> Response:
    image, options = await read_image(request, handler, CLASSIFY_V2)
    response = answer(await handler.classify_v2(image, options))
    if isinstance(options, ClassifyUrlV2):
        # As in version 1: another image may be there the next time.
        response.headers["Vary"] = "*"
    return response


_HEADER: JsonSchema = {
    "name": VERSION_HEADER,
    "in": "header",
    "required": False,
    "description": "Version of the API.",
    "schema": {"type": "string", "enum": list(VERSIONS), "default": "1"},
}


def _example(handler: ImageHandler) -> dict[str, Any]:
    return {**example_v1(handler), "embedding": [0.1184, 0.0, 0.7302]}

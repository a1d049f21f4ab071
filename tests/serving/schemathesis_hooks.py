"""Hooks of schemathesis for this API, also for its command line against a running service:

SCHEMATHESIS_HOOKS=tests.serving.schemathesis_hooks schemathesis run http://localhost:3000/openapi.json --checks all
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from base64 import b64encode
from typing import Any

import orjson
import schemathesis
from hypothesis import strategies as st

from serving.open_inference.codec import BINARY, HEADER_LENGTH
from tests.serving.in_process_service import encoded

# Files are images: other files are answered 415 or 422, and have their own tests.
PARQUET = "application/vnd.apache.parquet"
COLOURS = ((255, 0, 0), (0, 0, 255), (9, 9, 9))
schemathesis.openapi.format("binary", st.sampled_from([encoded("PNG", colour) for colour in COLOURS]))
schemathesis.openapi.format("byte", st.sampled_from([b64encode(encoded("PNG", colour)).decode() for colour in COLOURS]))
for format_ in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
    images = st.sampled_from([encoded(format_, colour) for colour in COLOURS])
    schemathesis.openapi.media_type(f"image/{format_.lower()}", images)


def uploads() -> dict[str, bytes]:
    """Return an archive of each type that a job accepts."""
    archive, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("red.png", encoded("PNG", COLOURS[0]))
    with tarfile.open(fileobj=tarred, mode="w:gz") as packed:
        image = encoded("PNG", COLOURS[0])
        member = tarfile.TarInfo("red.png")
        member.size = len(image)
        packed.addfile(member, io.BytesIO(image))
    return {
        PARQUET: b"PAR1",  # left out below
        "application/zip": archive.getvalue(),
        "application/gzip": tarred.getvalue(),
        "application/x-tar": gzip.decompress(tarred.getvalue()),
    }


for media_type, upload in uploads().items():
    schemathesis.openapi.media_type(media_type, st.just(upload))


@schemathesis.hook
def filter_body(context: schemathesis.HookContext, body: object) -> bool:
    """Skip forms with an empty list for a field, which multipart cannot represent."""
    fields = getattr(body, "body", body)  # of a form whose parts have content types
    return not (isinstance(fields, dict) and {"image", "images"} & set(fields) and [] in fields.values())


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Skip cases that a schema cannot exclude: invented page tokens, and features that a model lacks."""
    query = case.query if isinstance(case.query, dict) else {}
    body = case.body if isinstance(case.body, dict) else {}
    features = body.get("user_features")
    is_known = features is None or (isinstance(features, dict) and set(features) <= {"gender"})
    # Files of forms are images here, not tables or archives. A schema cannot describe the columns of Parquet.
    is_other_file = bool({"file", "archive"} & set(body)) or case.media_type == PARQUET
    is_describable = not {"model", "page_token", "id_column"} & set(query) and not body.get("model")
    is_invalid = case.meta is None or not case.meta.generation.mode.is_negative or not _is_lenient(query, body)
    return is_describable and not body.get("explain") and is_known and not is_other_file and is_invalid


IDS = {"user_id", "item_id", "user_ids", "history", "ids"}


def _is_lenient(query: dict[str, Any], body: dict[str, Any]) -> bool:
    """Return whether a request that its schema does not allow may be accepted all the same.

    Ids may be numbers, forms of pages send empty fields, and columns of a table may be ignored.
    """
    ids = [
        each for name, value in body.items() if name in IDS for each in (value if isinstance(value, list) else [value])
    ]
    is_number = any(isinstance(each, int | float) and not isinstance(each, bool) for each in ids)
    is_empty = any(value in ("", b"", None) for value in body.values() if not isinstance(value, list | dict))
    nested = [each for value in body.values() for each in (value if isinstance(value, list) else [value])]
    return (
        is_number
        or is_empty
        or query.get("extra") == "ignore"
        or any(_is_lenient({}, each) for each in nested if isinstance(each, dict))
    )


@schemathesis.serializer("text/csv", "application/x-ndjson")
def as_it_is(context: Any, value: Any) -> bytes:
    """Return the bytes of a text job."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.deserializer("application/x-ndjson")
def as_text(context: Any, response: Any) -> str:
    """Return the lines of a result as text, as the document declares them."""
    return bytes(response.content).decode()


def put_rows(case: schemathesis.Case[Any], content: dict[str, Any]) -> None:
    """Use rows from the example of the document as the file of a job with rows."""
    if case.media_type in content and "examples" in content[case.media_type]:
        case.body = content[case.media_type]["examples"]["rows"]["value"]


def put_users(case: schemathesis.Case[Any]) -> None:
    """Use users as the file of a job with users: the same media types are tables elsewhere."""
    users = {"text/csv": "user_id\nalice\n", "application/x-ndjson": '"alice"\n12\n'}
    if case.media_type in users:
        case.body = users[case.media_type]


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Use existing users and consistent tensors in valid cases, which a schema cannot describe."""
    definition = case.operation.definition.raw
    operation = str(definition["operationId"])
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.headers is not None:
        # A schema does not list the versions.
        case.headers.pop("X-Model-Version", None)
    if operation == "set_traffic":
        # A schema does not list the versions, nor require that shares add up to one.
        case.body = definition["requestBody"]["content"]["application/json"]["examples"]["one"]["value"]
    body: Any = case.body  # Any: JSON
    if operation == "set_alias" and isinstance(body, dict) and body.get("force"):
        # Generators of clients write wrong code for a schema that requires one field because of another.
        case.body = {"reason": "a test", **{name: value for name, value in body.items() if value is not None}}
    if isinstance(body, dict) and "per_user" in body:
        # A schema cannot restrict the keys of one field to the values of another.
        ids = [str(int(each) if isinstance(each, float) else each) for each in body["user_ids"]]
        case.body = {**body, "per_user": dict(zip(ids, body["per_user"].values(), strict=False))}
    if operation == "submit_tabular_job":
        put_rows(case, definition["requestBody"]["content"])
    if operation == "submit_recommendation_job":
        put_users(case)
    if not operation.startswith("infer_"):
        return
    example = definition["requestBody"]["content"]["application/json"]["examples"]["row"]["value"]
    headers = case.headers if case.headers is not None else {}
    headers.pop(HEADER_LENGTH, None)
    case.body = example
    if case.media_type == BINARY:
        head = orjson.dumps(example | {"parameters": {"binary_data_output": True}})
        case.body = head
        headers[HEADER_LENGTH] = str(len(head))
    case.headers = headers

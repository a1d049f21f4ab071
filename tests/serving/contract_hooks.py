"""What schemathesis has to know of this API. Also for its command line, against a running service:

SCHEMATHESIS_HOOKS=tests.serving.contract_hooks schemathesis run http://localhost:3000/openapi.json --checks all
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
import schemathesis
from hypothesis import strategies as st

from serving.inference_body import BINARY, HEADER_LENGTH
from tests.serving.kitchen import encoded

# A file is an image here: what is not gets 415 or 422, and tests of its own.
COLOURS = ((255, 0, 0), (0, 0, 255), (9, 9, 9))
schemathesis.openapi.format("binary", st.sampled_from([encoded("PNG", colour) for colour in COLOURS]))
schemathesis.openapi.format("byte", st.sampled_from([b64encode(encoded("PNG", colour)).decode() for colour in COLOURS]))
for format_ in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
    images = st.sampled_from([encoded(format_, colour) for colour in COLOURS])
    schemathesis.openapi.media_type(f"image/{format_.lower()}", images)


@schemathesis.hook
def filter_body(context: schemathesis.HookContext, body: object) -> bool:
    """Leave out forms with an empty list for a field: multipart has no way to send one, so none arrives."""
    fields = getattr(body, "body", body)  # of a form whose parts have content types
    return not (isinstance(fields, dict) and {"image", "images"} & set(fields) and [] in fields.values())


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Leave out what no schema can tell: a page token is one that was given, and not every model can do everything."""
    query = case.query if isinstance(case.query, dict) else {}
    body = case.body if isinstance(case.body, dict) else {}
    features = body.get("user_features")
    is_known = features is None or (isinstance(features, dict) and set(features) <= {"gender"})
    return not {"model", "page_token"} & set(query) and not body.get("model") and not body.get("explain") and is_known


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Put tensors that agree with each other where the schema was kept: no schema tells that their shapes have to."""
    told = case.operation.definition.raw
    if case.meta is not None and case.meta.generation.mode.is_positive and case.headers is not None:
        # No schema tells which versions there are.
        case.headers.pop("X-Model-Version", None)
    if told["operationId"] == "set_traffic" and case.meta is not None and case.meta.generation.mode.is_positive:
        # No schema tells which versions there are, nor that shares add up to one.
        case.body = told["requestBody"]["content"]["application/json"]["examples"]["one"]["value"]
    if (
        not str(told["operationId"]).startswith("infer_")
        or case.meta is None
        or not case.meta.generation.mode.is_positive
    ):
        return
    example = told["requestBody"]["content"]["application/json"]["examples"]["row"]["value"]
    headers = case.headers if case.headers is not None else {}
    headers.pop(HEADER_LENGTH, None)
    case.body = example
    if case.media_type == BINARY:
        head = orjson.dumps(example | {"parameters": {"binary_data_output": True}})
        case.body = head
        headers[HEADER_LENGTH] = str(len(head))
    case.headers = headers

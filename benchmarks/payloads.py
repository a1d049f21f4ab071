"""Encoding of requests and decoding of responses in the format of each server.

json       JSON at /predict; images as multipart/form-data
raw        JSON at /predict; images as the body
mosec      JSON at /inference; images as the body
v2         Open Inference Protocol, one text or base64 tensor
v2-table   Open Inference Protocol, one tensor per column of the table
ours       public API of the service
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from benchmarks.cases import Case, accepts
from benchmarks.http_request import HttpRequest
from benchmarks.scenarios import Kind

Style = Literal["json", "raw", "mosec", "v2", "v2-table", "ours"]
Encoded = tuple[str, str, bytes]

_JSON = "application/json"
_BOUNDARY = "makunouchi-bench-7f3a"
_OUR_PATHS = {
    "overhead": "/sum",
    "tabular": "/v1/tabular/predict",
    "image": "/v1/images/classify",
    "recommender": "/v1/recommendations",
}


def build_request(style: Style, kind: Kind, case: Case, *, classes: tuple[str, ...] = ()) -> HttpRequest:
    """Return the request of a case in the format `style`. `classes` is the order of the expected probabilities."""
    path, content_type, body = _encode(style, kind, case.request)
    decode = partial(_DECODERS[style], kind, classes)
    return HttpRequest(path, content_type, body, decode, partial(accepts, kind), case.expected)


def _encode(style: Style, kind: Kind, request: Any) -> Encoded:
    if style in ("v2", "v2-table"):
        return "/v2/models/bench/infer", _JSON, json.dumps(_v2(style, kind, request)).encode()
    path = {"ours": _OUR_PATHS[kind], "mosec": "/inference"}.get(style, "/predict")
    if kind != "image":
        payload = request["values"] if style == "ours" and kind == "overhead" else request
        return path, _JSON, json.dumps(payload).encode()
    if style in ("raw", "mosec"):
        return path, "image/jpeg", request
    return path, f"multipart/form-data; boundary={_BOUNDARY}", _multipart(request)


def _multipart(image: bytes) -> bytes:
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="image.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + image + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _v2(style: Style, kind: Kind, request: Any) -> dict[str, Any]:
    if style == "v2-table":
        columns = request["instances"][0]
        return {
            "parameters": {"content_type": "pd"},
            "inputs": [_column(name, [row[name] for row in request["instances"]]) for name in columns],
            "outputs": [{"name": "predict_proba"}],
        }
    data = base64.b64encode(request).decode() if kind == "image" else json.dumps(request)
    parameters = {"content_type": "base64" if kind == "image" else "str"}
    return {
        "inputs": [{"name": "request", "shape": [1], "datatype": "BYTES", "data": [data], "parameters": parameters}]
    }


def _column(name: str, values: list[Any]) -> dict[str, Any]:
    is_text = isinstance(values[0], str)
    column = {"name": name, "shape": [len(values), 1], "datatype": "BYTES" if is_text else "FP64", "data": values}
    return {**column, "parameters": {"content_type": "str"}} if is_text else column


def _result(kind: Kind, response: Any) -> Any:
    match kind:
        case "overhead":
            return float(response["sum"])
        case "tabular":
            return response["probabilities"]
        case "image":
            return int(response["class_id"])
        case _:
            return [item["id"] for item in response["items"]]


def _decode_json(kind: Kind, _: tuple[str, ...], body: bytes) -> Any:
    return _result(kind, json.loads(body))


def _decode_v2(kind: Kind, _: tuple[str, ...], body: bytes) -> Any:
    return _result(kind, json.loads(json.loads(body)["outputs"][0]["data"][0]))


def _decode_v2_table(_: Kind, classes: tuple[str, ...], body: bytes) -> Any:
    (output,) = json.loads(body)["outputs"]
    width = len(classes) or 2
    values = output["data"]
    return [values[start : start + width] for start in range(0, len(values), width)]


def _decode_ours(kind: Kind, classes: tuple[str, ...], body: bytes) -> Any:
    response = json.loads(body)
    match kind:
        case "overhead":
            return float(response["sums"][0])
        case "tabular":
            return [[row["probabilities"][name] for name in classes] for row in response["predictions"]]
        case "image":
            return int(response["predictions"][0]["class_id"])
        case _:
            return [item["item_id"] for item in response["items"]]


_DECODERS: dict[Style, Callable[[Kind, tuple[str, ...], bytes], Any]] = {
    "json": _decode_json,
    "raw": _decode_json,
    "mosec": _decode_json,
    "v2": _decode_v2,
    "v2-table": _decode_v2_table,
    "ours": _decode_ours,
}

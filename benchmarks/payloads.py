"""How each server wants a question put, and where the answer is in its response. Knows formats, no arithmetic.

plain      JSON at /predict; images as multipart/form-data
raw        the same, images as the bytes of the body
mosec      the same at /inference
v2         the open inference protocol, one text or base64 tensor
v2-table   the open inference protocol, one tensor per column of the table
ours       the public routes of the service
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from benchmarks.questions import Question
from benchmarks.scenarios import Case, Kind, accepts

Style = Literal["plain", "raw", "mosec", "v2", "v2-table", "ours"]
Encoded = tuple[str, str, bytes]

_JSON = "application/json"
_BOUNDARY = "makunouchi-bench-7f3a"
_OUR_PATHS = {
    "overhead": "/sum",
    "tabular": "/v1/tabular/predict",
    "image": "/v1/images/classify",
    "recommender": "/v1/recommendations",
}


def put(style: Style, kind: Kind, case: Case, *, classes: tuple[str, ...] = ()) -> Question:
    """The question for a server of that style. `classes` are the names that probabilities come by, in their order."""
    path, content_type, body = _encode(style, kind, case.request)
    read = partial(_READERS[style], kind, classes)
    return Question(path, content_type, body, read, partial(accepts, kind), case.expected)


def _encode(style: Style, kind: Kind, request: Any) -> Encoded:
    if style in ("v2", "v2-table"):
        return "/v2/models/bench/infer", _JSON, json.dumps(_v2(style, kind, request)).encode()
    path = {"ours": _OUR_PATHS[kind], "mosec": "/inference"}.get(style, "/predict")
    if kind != "image":
        bare = style == "ours" and kind == "overhead"
        return path, _JSON, json.dumps(request["values"] if bare else request).encode()
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


def _read_answer(kind: Kind, answer: Any) -> Any:
    match kind:
        case "overhead":
            return float(answer["sum"])
        case "tabular":
            return answer["probabilities"]
        case "image":
            return int(answer["class_id"])
        case _:
            return [item["id"] for item in answer["items"]]


def _read_plain(kind: Kind, _: tuple[str, ...], response: bytes) -> Any:
    return _read_answer(kind, json.loads(response))


def _read_v2(kind: Kind, _: tuple[str, ...], response: bytes) -> Any:
    return _read_answer(kind, json.loads(json.loads(response)["outputs"][0]["data"][0]))


def _read_v2_table(_: Kind, classes: tuple[str, ...], response: bytes) -> Any:
    (output,) = json.loads(response)["outputs"]
    width = len(classes) or 2
    flat = output["data"]
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _read_ours(kind: Kind, classes: tuple[str, ...], response: bytes) -> Any:
    answer = json.loads(response)
    match kind:
        case "overhead":
            return float(answer["sums"][0])
        case "tabular":
            return [[row["probabilities"][name] for name in classes] for row in answer["predictions"]]
        case "image":
            return int(answer["predictions"][0]["class_id"])
        case _:
            return [item["item_id"] for item in answer["items"]]


_READERS: dict[Style, Callable[[Kind, tuple[str, ...], bytes], Any]] = {
    "plain": _read_plain,
    "raw": _read_plain,
    "mosec": _read_plain,
    "v2": _read_v2,
    "v2-table": _read_v2_table,
    "ours": _read_ours,
}

"""Binary frames between a gateway and a runner: a JSON header, then the bytes of one array, or JSON. Never pickle.

    4 bytes, little-endian: length of the header
    header: JSON
    body:   the array's bytes in C order, or a JSON list

A frame is validated before its bytes are used: the element type against a list, sizes against the received bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from models.errors import (
    DeadlineExceeded,
    InputError,
    InputTooLarge,
    InvalidInput,
    NotKnown,
    Overloaded,
    PlatformError,
    PredictionFailed,
    RunnerUnavailable,
    UnsupportedMedia,
    VersionNotLoaded,
)
from serving.context import PRIORITIES, Priority
from serving.runners.interface import ModelRef

MEDIA_TYPE: Final = "application/vnd.makunouchi.frame"
DTYPES: Final = frozenset({"uint8", "int32", "int64", "float16", "float32", "float64", "bool"})
_PREFIX_BYTES: Final = 4
_MAX_HEADER_BYTES: Final = 1 << 20
_QUERY_BYTES: Final = 256
# Paths of the runner's HTTP interface start with it, and names of methods for low-priority calls with `LOW_PRIORITY`.
RUNNER_PATH: Final = "/runner/"
LOW_PRIORITY: Final = "low-priority/"
# Of one named model: RUNNER_PATH + MODELS + its name + "/" + a method.
MODELS: Final = "models/"
# Errors that a frame can carry, by name. Only input errors carry the model's own message.
_ERRORS: Final[dict[str, type[PlatformError]]] = {
    error.__name__: error
    for error in (
        InvalidInput, UnsupportedMedia, InputTooLarge, NotKnown,
        RunnerUnavailable, VersionNotLoaded, Overloaded, DeadlineExceeded, PredictionFailed,
    )
}  # fmt: skip

Payload = NDArray[Any] | list[dict[str, Any]]  # Any: element types vary, JSON is typed by the caller


def bytes_of(payload: Payload) -> int:
    """Return the size of a payload. Of JSON it is an estimate, because it is not encoded yet."""
    return payload.nbytes if isinstance(payload, np.ndarray) else _QUERY_BYTES * len(payload)


def shape_of(payload: Payload) -> object:
    """Return what payloads that form one batch have in common: element type and row shape."""
    return (payload.dtype.num, payload.shape[1:]) if isinstance(payload, np.ndarray) else None


def model_path(model: str) -> str:
    """Return the start of the paths of a model, or of a runner's only model, which has no name."""
    return f"{RUNNER_PATH}{MODELS}{model}/" if model else RUNNER_PATH


class FrameInvalid(PlatformError):
    """Bytes that are not a frame."""


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One item of a batch: `rows` rows of the request `request_id`, due at `deadline` (monotonic seconds).

    `version` is the version that must answer; empty means the default one. Requests of the priority `batch` wait for
    the others.
    """

    payload: Payload
    rows: int
    request_id: str
    deadline: float
    traceparent: str = ""
    version: str = ""
    priority: Priority = "interactive"


@dataclass(frozen=True, slots=True)
class WireResponse:
    """One item's answer, and the model that made it."""

    payload: Payload
    model: ModelRef


def encode_requests(requests: Sequence[WireRequest], *, now: float) -> list[bytes | memoryview]:
    """Return the pieces of a request frame, separate so that array bytes are not copied.

    Deadlines are encoded as remaining seconds. All requests of a frame are for one version and of one priority.
    """
    items = [
        [item.rows, item.request_id, round(min(item.deadline - now, 1e9), 4), item.traceparent] for item in requests
    ]
    header: dict[str, Any] = {"items": items}  # Any: JSON
    if requests and requests[0].version:
        header["version"] = requests[0].version
    if requests and requests[0].priority != "interactive":
        header["priority"] = requests[0].priority
    return _encode(header, [item.payload for item in requests])


def decode_requests(frame: bytes, *, now: float) -> list[WireRequest]:
    """Return the requests of a frame; arrays are views of `frame`. Raises FrameInvalid."""
    header, body = _open(frame)
    try:
        items = [(int(rows), str(name), float(left_s), str(trace)) for rows, name, left_s, trace in header["items"]]
        payloads = _split(header, body, [rows for rows, *_ in items])
        version = str(header.get("version", ""))
        priority = PRIORITIES[PRIORITIES.index(header.get("priority", "interactive"))]
    except (KeyError, TypeError, ValueError) as error:
        raise FrameInvalid("the frame's header is malformed") from error
    return [
        WireRequest(payload, rows, name, now + left_s, trace, version, priority)
        for payload, (rows, name, left_s, trace) in zip(payloads, items, strict=True)
    ]


def encode_responses(results: Sequence[WireResponse | Exception]) -> list[bytes | memoryview]:
    """Return the pieces of an answer frame. Errors are encoded as their class, input errors with their message."""
    models: dict[ModelRef, int] = {}
    items: list[list[Any]] = []  # Any: JSON
    payloads: list[Payload] = []
    for result in results:
        if isinstance(result, WireResponse):
            items.append([len(result.payload), models.setdefault(result.model, len(models))])
            payloads.append(result.payload)
        else:
            items.append(_error_item(result))
    return _encode({"items": items, "models": [[ref.name, ref.version] for ref in models]}, payloads)


def decode_responses(frame: bytes) -> list[WireResponse | Exception]:
    """Return the results of an answer frame, in the order of the requests. Raises FrameInvalid."""
    header, body = _open(frame)
    try:
        models = [ModelRef(str(name), str(version)) for name, version in header["models"]]
        items = header["items"]
        payloads = iter(_split(header, body, [int(item[0]) for item in items if not isinstance(item[0], str)]))
        return [
            _error(item) if isinstance(item[0], str) else WireResponse(next(payloads), models[int(item[1])])
            for item in items
        ]
    except (KeyError, TypeError, ValueError, IndexError, StopIteration) as error:
        raise FrameInvalid("the frame's header is malformed") from error


def _error_item(error: Exception) -> list[Any]:  # Any: JSON
    name = type(error).__name__
    if isinstance(error, InputError) and name in _ERRORS:
        return [name, str(error), list(error.location)]
    return [name if name in _ERRORS else PredictionFailed.__name__, "", []]


_MESSAGES: Final = {
    "RunnerUnavailable": str(RunnerUnavailable()),
    "VersionNotLoaded": "the version is not loaded at the moment",
    "Overloaded": "too many requests wait for this model",
    "DeadlineExceeded": "the model did not answer in time",
    "PredictionFailed": "the model could not answer",
}


def _error(item: list[Any]) -> PlatformError:  # Any: JSON
    name, message, location = item
    kind = _ERRORS.get(name, PredictionFailed)
    if issubclass(kind, InputError):
        return kind(str(message), location=tuple(location))
    return kind(_MESSAGES[kind.__name__])


def _encode(header: dict[str, Any], payloads: Sequence[Payload]) -> list[bytes | memoryview]:  # Any: JSON
    body: list[bytes | memoryview]
    if not payloads or isinstance(payloads[0], list):
        header["kind"] = "json"
        body = [orjson.dumps([row for payload in payloads for row in payload], option=orjson.OPT_SERIALIZE_NUMPY)]
    else:
        first = payloads[0]
        header["kind"] = "rows"
        header["dtype"] = first.dtype.name
        header["row"] = first.shape[1:]
        body = [np.ascontiguousarray(payload).data.cast("B") if payload.size else b"" for payload in payloads]  # type: ignore[union-attr]
    head = orjson.dumps(header)
    return [len(head).to_bytes(_PREFIX_BYTES, "little") + head, *body]


def _open(frame: bytes) -> tuple[dict[str, Any], memoryview]:  # Any: JSON
    if len(frame) < _PREFIX_BYTES:
        raise FrameInvalid("the frame is shorter than its prefix")
    size = int.from_bytes(frame[:_PREFIX_BYTES], "little")
    if size > _MAX_HEADER_BYTES or _PREFIX_BYTES + size > len(frame):
        raise FrameInvalid("the frame's header does not fit")
    view = memoryview(frame)
    try:
        header = orjson.loads(view[_PREFIX_BYTES : _PREFIX_BYTES + size])
    except orjson.JSONDecodeError as error:
        raise FrameInvalid("the frame's header is not JSON") from error
    if not isinstance(header, dict):
        raise FrameInvalid("the frame's header is not an object")
    return header, view[_PREFIX_BYTES + size :]


def _split(header: dict[str, Any], body: memoryview, counts: list[int]) -> list[Payload]:  # Any: JSON
    if any(count < 0 for count in counts):
        raise FrameInvalid("an item has a negative number of rows")
    total = sum(counts)
    rows: Payload = _json_rows(body) if header["kind"] == "json" else _array(header, body, total)
    if len(rows) != total:
        raise FrameInvalid("the frame holds another number of rows than its items")
    if len(counts) == 1:
        return [rows]
    parts: list[Payload] = []
    start = 0
    for count in counts:
        parts.append(rows[start : start + count])
        start += count
    return parts


def _json_rows(body: memoryview) -> list[dict[str, Any]]:  # Any: JSON
    try:
        rows = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise FrameInvalid("the frame's body is not JSON") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FrameInvalid("the frame's body is not a list of objects")
    return rows


def _array(header: dict[str, Any], body: memoryview, total: int) -> NDArray[Any]:  # Any: JSON; dtype from the list
    name = header["dtype"]
    if header["kind"] != "rows" or name not in DTYPES:
        raise FrameInvalid("the frame holds an element type that is not allowed")
    row = tuple(int(size) for size in header["row"])
    dtype = np.dtype(name)
    if any(size < 0 for size in row) or len(row) > 8 or total * math.prod(row) * dtype.itemsize != len(body):
        raise FrameInvalid("the frame's shape does not match its bytes")
    return np.frombuffer(body, dtype).reshape((total, *row))

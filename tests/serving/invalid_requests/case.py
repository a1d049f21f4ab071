"""One invalid request with its expected response, and builders of requests."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

from tests.serving.access.credentials import API_KEYS, KEYS
from tests.serving.in_process_service import ROW, png

CLASSIFY, BATCH = "/v1/images/classify", "/v1/images/classify-batch"
PREDICT = "/v1/tabular/predict"
RECOMMEND, BULK = "/v1/recommendations", "/v1/recommendations/bulk"
FEEDBACK, INFER = "/v1/feedback", "/v2/models/tabular/infer"
RELOAD = "/v1/models/tabular/reload"
ALIASES = "/v1/models/tabular/aliases"
KEYED = {"api_keys": API_KEYS}
FETCHING = {"image_url_hosts": ("*",)}


def bomb() -> bytes:
    """Return a PNG file of a few bytes whose header declares four billion pixels."""
    header = struct.pack(">IIBBBBB", 65000, 65000, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + b"IHDR" + header + checksum


def rows(**changes: Any) -> dict[str, Any]:
    return {"json": {"instances": [{**ROW, **changes}]}}


def raw(text: str | bytes, content_type: str = "application/json") -> dict[str, Any]:
    return {"content": text, "headers": {"Content-Type": content_type}}


def without(name: str) -> dict[str, Any]:
    return {"json": {"instances": [{key: value for key, value in ROW.items() if key != name}]}}


def file(data: bytes) -> dict[str, Any]:
    return {"files": {"image": ("image.png", data)}}


def form(data: bytes = b"", **fields: str) -> dict[str, Any]:
    return {"files": {"image": ("image.png", data or png())}, "data": fields}


def numbers(**changes: float) -> dict[str, Any]:
    """Return a body with numbers that JSON does not have."""
    return raw(json.dumps(rows(**changes)["json"]))


def cold(features: object) -> dict[str, Any]:
    """Return a request for an unknown user with features."""
    return {"json": {"user_id": "new", "user_features": features}}


def event(**changes: object) -> dict[str, Any]:
    return {"json": {"events": [{"user_id": "alice", "item_id": "1", "kind": "view"} | changes]}}


def tensor(**changes: object) -> dict[str, Any]:
    """Return a request with one tensor."""
    return {"json": {"inputs": [{"name": "age", "datatype": "INT64", "shape": [1], "data": [33]} | changes]}}


def twice() -> dict[str, Any]:
    return {"json": {"inputs": tensor()["json"]["inputs"] * 2}}


def binary(size: int, tail: bytes, *, length: str = "") -> dict[str, Any]:
    """Return a request with a tensor of `size` bytes whose data is `tail`."""
    age = {"name": "age", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [age]}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": length or str(len(head))}
    return {"content": head + tail, "headers": headers}


def with_key(key: str) -> dict[str, Any]:
    return {**rows(), "headers": {"X-API-Key": key}}


def reload(version: str) -> dict[str, Any]:
    return as_admin({"version": version})


def as_admin(body: object = None) -> dict[str, Any]:
    return ({} if body is None else {"json": body}) | {"headers": {"X-API-Key": KEYS["admin"]}}


@dataclass(eq=False)
class Bad:
    """An invalid request. `says` is part of the detail, or of the fault at `at`."""

    what: str
    path: str
    request: dict[str, Any]
    status: int
    says: str
    at: list[str | int] | None = None
    value_type: str | None = None
    method: str = "POST"
    # The settings of the service, and the number of requests.
    settings: dict[str, Any] = field(default_factory=dict)
    times: int = 1
    # A valid PUT to the same path before it.
    before: dict[str, Any] | None = None

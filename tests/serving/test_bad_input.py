"""Every kind of bad input has its own clear message and status, and nothing of it reaches a model."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import pytest

from serving.schemas.recommendations import RecommendRequest
from tests.serving.kitchen import MAX_PIXELS, ROW, Kitchen, png

CLASSIFY, BATCH = "/v1/images/classify", "/v1/images/classify-batch"
PREDICT = "/v1/tabular/predict"
RECOMMEND, BULK = "/v1/recommendations", "/v1/recommendations/bulk"


def bomb() -> bytes:
    """A PNG file of a few bytes that says it has four thousand million pixels."""
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
    """A body with numbers that JSON does not have."""
    return raw(json.dumps(rows(**changes)["json"]))


@dataclass
class Bad:
    what: str
    path: str
    request: dict[str, Any]
    status: int
    says: str
    at: list[str | int] | None = None
    value_type: str | None = None
    type: str = field(default="", repr=False)


TABLE = [
    Bad("not an image", CLASSIFY, file(b"hello, this is text"), 415, "image", ["body", "image"], "file"),
    Bad("an image's name on no image", CLASSIFY, file(b"%PDF-1.7 ..."), 415, "image", ["body", "image"], "file"),
    Bad("an empty file", CLASSIFY, {"files": {"image": ("a.png", b"")}}, 422, "empty", ["body", "image"], "file"),
    Bad("a truncated image", CLASSIFY, file(png(size=(300, 300))[:-40]), 422, "truncated", ["body", "image"], "file"),
    Bad("a decompression bomb", CLASSIFY, file(bomb()), 413, f"{MAX_PIXELS:,}", ["body", "image"], "file"),
    Bad("no image", CLASSIFY, {"files": {"other": ("a.png", png())}}, 422, "required", ["body", "image"], "absent"),
    Bad("two images", CLASSIFY, {"files": [("image", ("a", png()))] * 2}, 422, "only one", ["body", "image"], "array"),
    Bad(
        "an address for an image",
        CLASSIFY,
        {"files": {"image": (None, "http://169.254.169.254/latest")}},
        422,
        "file part",
        ["body", "image"],
        "string",
    ),
    Bad("top_k 0", CLASSIFY, form(top_k="0"), 422, "greater than or equal to 1", ["body", "top_k"], "number"),
    Bad("top_k 21", CLASSIFY, form(top_k="21"), 422, "less than or equal to 20", ["body", "top_k"], "number"),
    Bad("top_k in words", CLASSIFY, form(top_k="five"), 422, "valid integer", ["body", "top_k"], "string"),
    Bad("top_k with a fraction", CLASSIFY, form(top_k="2.5"), 422, "valid integer", ["body", "top_k"], "number"),
    Bad("threshold 1.5", CLASSIFY, form(threshold="1.5"), 422, "less than or equal to 1", ["body", "threshold"]),
    Bad("threshold NaN", CLASSIFY, form(threshold="NaN"), 422, "valid number", ["body", "threshold"], "string"),
    Bad("an unknown form field", CLASSIFY, form(topk="3"), 422, "no such field", ["body", "topk"]),
    Bad(
        "a field given twice",
        CLASSIFY,
        {"files": [("image", ("a", png())), ("top_k", (None, "1")), ("top_k", (None, "2"))]},
        422,
        "more than once",
        ["body", "top_k"],
        "array",
    ),
    Bad("an image as text", CLASSIFY, raw(b"hello", "text/plain"), 415, "multipart/form-data"),
    Bad("a multipart body that is none", CLASSIFY, raw(b"xyz", "multipart/form-data; boundary=B"), 400, "multipart"),
    Bad("a multipart body without boundary", CLASSIFY, raw(b"--B", "multipart/form-data"), 400, "boundary"),
    Bad(
        "a multipart body without end",
        CLASSIFY,
        raw(
            b'--B\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nx',
            "multipart/form-data; boundary=B",
        ),
        400,
        "ends before",
    ),
    Bad(
        "a part without a name",
        CLASSIFY,
        raw(b"--B\r\nContent-Type: text/plain\r\n\r\nx\r\n--B--\r\n", "multipart/form-data; boundary=B"),
        400,
        "no name",
    ),
    Bad(
        "a thousand parts",
        CLASSIFY,
        {"files": [(f"field{number}", (None, "x")) for number in range(1000)]},
        400,
        "parts",
    ),
    Bad("a field of megabytes", CLASSIFY, form(top_k="1" * 5000), 400, "longer than"),
    Bad("no images", BATCH, {"files": {"top_k": (None, "3")}}, 422, "required", ["body", "images"], "absent"),
    Bad(
        "thirty-three images",
        BATCH,
        {"files": [("images", ("a.png", png()))] * 33},
        422,
        "at most 32",
        ["body", "images"],
        "array",
    ),
    Bad("a body over the limit", PREDICT, raw(b" " * 3_000_000), 413, "2000000 bytes"),
    Bad("an image over the limit", CLASSIFY, file(b"x" * 3_000_000), 413, "2000000 bytes"),
    Bad("text for a number", PREDICT, rows(age="33"), 422, "number", ["body", "instances", 0, "age"], "string"),
    Bad("a boolean for a number", PREDICT, rows(age=True), 422, "number", ["body", "instances", 0, "age"], "boolean"),
    Bad(
        "a fraction for an integer", PREDICT, rows(age=33.5), 422, "integer", ["body", "instances", 0, "age"], "number"
    ),
    Bad("null for a number", PREDICT, rows(age=None), 422, "number", ["body", "instances", 0, "age"], "null"),
    Bad("a number for a boolean", PREDICT, rows(**{"class": 1}), 422, "boolean", ["body", "instances", 0, "class"]),
    Bad(
        "a number no float32 holds",
        PREDICT,
        rows(**{"credit amount": 1e300}),
        422,
        "less than or equal to",
        ["body", "instances", 0, "credit amount"],
        "number",
    ),
    Bad(
        "an unknown category",
        PREDICT,
        rows(sex="x"),
        422,
        "'female' or 'male'",
        ["body", "instances", 0, "sex"],
        "string",
    ),
    Bad("NaN", PREDICT, numbers(age=float("nan")), 422, "NaN and Infinity", ["body", "instances", 0, "age"], "number"),
    Bad("Infinity", PREDICT, numbers(größe=float("inf")), 422, "NaN and Infinity", ["body", "instances", 0, "größe"]),
    Bad("-Infinity", PREDICT, numbers(age=-float("inf")), 422, "NaN and Infinity", ["body", "instances", 0, "age"]),
    Bad("a missing field", PREDICT, without("age"), 422, "required", ["body", "instances", 0, "age"], "absent"),
    Bad(
        "an extra field",
        PREDICT,
        rows(colour="red"),
        422,
        "no such field",
        ["body", "instances", 0, "colour"],
        "string",
    ),
    Bad("an extra field outside", PREDICT, {"json": {"instances": [ROW], "n": 1}}, 422, "no such field", ["body", "n"]),
    Bad("an empty list", PREDICT, {"json": {"instances": []}}, 422, "at least 1", ["body", "instances"], "array"),
    Bad(
        "1,001 rows",
        PREDICT,
        {"json": {"instances": [ROW] * 1001}},
        422,
        "at most 1000",
        ["body", "instances"],
        "array",
    ),
    Bad(
        "a row that is a number",
        PREDICT,
        {"json": {"instances": [3]}},
        422,
        "object",
        ["body", "instances", 0],
        "number",
    ),
    Bad("a list for the body", PREDICT, {"json": [ROW]}, 422, "object", ["body"], "array"),
    Bad("null for the body", PREDICT, raw("null"), 422, "object", ["body"], "null"),
    Bad("broken JSON", PREDICT, raw('{"instances": ['), 400, "EOF"),
    Bad("JSON that is not UTF-8", PREDICT, raw(b'{"instances": "\xff"}'), 400, "JSON"),
    Bad("JSON a thousand deep", PREDICT, raw("[" * 1000 + "]" * 1000), 400, "recursion"),
    Bad("no body", PREDICT, raw(b""), 400, "empty"),
    Bad("JSON called text", PREDICT, raw(json.dumps({"instances": [ROW]}), "text/plain"), 415, "application/json"),
    Bad("JSON called nothing", PREDICT, {"content": json.dumps({"instances": [ROW]})}, 415, "application/json"),
    Bad(
        "a compressed body",
        PREDICT,
        {"content": b"..", "headers": {"Content-Type": "application/json", "Content-Encoding": "gzip"}},
        415,
        "compressed",
    ),
    Bad("n 0", RECOMMEND, {"json": {"user_id": "alice", "n": 0}}, 422, "greater than or equal to 1", ["body", "n"]),
    Bad("n 101", RECOMMEND, {"json": {"user_id": "alice", "n": 101}}, 422, "less than or equal to 100", ["body", "n"]),
    Bad("n as text", RECOMMEND, {"json": {"user_id": "alice", "n": "5"}}, 422, "integer", ["body", "n"], "string"),
    Bad("n true", RECOMMEND, {"json": {"user_id": "alice", "n": True}}, 422, "integer", ["body", "n"], "boolean"),
    Bad(
        "filter_seen 1",
        RECOMMEND,
        {"json": {"user_id": "a", "filter_seen": 1}},
        422,
        "boolean",
        ["body", "filter_seen"],
    ),
    Bad("no user", RECOMMEND, {"json": {"n": 5}}, 422, "required", ["body", "user_id"], "absent"),
    Bad(
        "a user without a name", RECOMMEND, {"json": {"user_id": ""}}, 422, "at least 1", ["body", "user_id"], "string"
    ),
    Bad("a user that is a list", RECOMMEND, {"json": {"user_id": ["a"]}}, 422, "string", ["body", "user_id"], "array"),
    Bad(
        "an unknown user where one is needed",
        RECOMMEND,
        {"json": {"user_id": "nobody", "unknown_user": "error"}},
        404,
        "no user 'nobody'",
        ["body", "user_id"],
        "string",
    ),
    Bad("no users", BULK, {"json": {"user_ids": []}}, 422, "at least 1", ["body", "user_ids"], "array"),
    Bad("fifty-one users", BULK, {"json": {"user_ids": ["a"] * 51}}, 422, "at most 50", ["body", "user_ids"], "array"),
]


@pytest.mark.parametrize("bad", TABLE, ids=[bad.what for bad in TABLE])
def test_bad_input_gets_its_status_and_says_what_is_wrong(bad: Bad) -> None:
    kitchen = Kitchen(max_body_bytes=2_000_000)

    response = kitchen.post(bad.path, **bad.request)

    assert response.status_code == bad.status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == bad.status
    assert problem["type"].startswith("/problems/")
    assert problem["instance"] == bad.path
    if bad.at is None:
        assert bad.says in problem["detail"]
    else:
        fault = problem["errors"][0]
        assert fault["location"] == bad.at
        assert bad.says in fault["message"]
        assert bad.value_type in (None, fault["value_type"])
    assert kitchen.images.calls == kitchen.table.calls == []


@pytest.mark.parametrize("name", sorted({bad.path for bad in TABLE}))
def test_bad_input_at_the_paths_of_native_clients_gets_the_same(kitchen: Kitchen, name: str) -> None:
    native = {CLASSIFY: "/classify_image", BATCH: "/classify_images", PREDICT: "/predict_tabular"} | {
        RECOMMEND: "/recommend",
        BULK: "/recommend_bulk",
    }
    for bad in TABLE:
        if bad.path == name and "over the limit" not in bad.what:
            assert kitchen.post(native[name], **bad.request).status_code == bad.status, bad.what


def test_a_bad_image_fails_alone(kitchen: Kitchen) -> None:
    files = [png((255, 0, 0)), b"not an image", png((0, 0, 255)), bomb(), png(size=(300, 300))[:-40], b""]

    response = kitchen.post(BATCH, files=[("images", (f"{n}.png", data)) for n, data in enumerate(files)])

    assert response.status_code == 200
    results = response.json()["results"]
    assert [result["index"] for result in results] == [0, 1, 2, 3, 4, 5]
    assert [result["status"] for result in results] == ["ok", "error", "ok", "error", "error", "error"]
    assert [result["error"]["status"] for result in results if result["status"] == "error"] == [415, 413, 422, 422]
    assert kitchen.images.calls == [2]


def test_one_bad_row_is_named_and_no_row_is_predicted(kitchen: Kitchen) -> None:
    response = kitchen.post(PREDICT, json={"instances": [ROW, {**ROW, "age": "old"}, ROW]})

    assert response.status_code == 422
    assert [fault["location"] for fault in response.json()["errors"]] == [["body", "instances", 1, "age"]]


def test_of_ten_thousand_faults_the_first_fifty_are_listed(kitchen: Kitchen) -> None:
    problem = kitchen.post(PREDICT, json={"instances": [{}] * 1000}).json()

    assert len(problem["errors"]) == 50
    assert problem["detail"].endswith("and 5999 more")


def test_what_the_client_sent_is_not_repeated_at_length(kitchen: Kitchen) -> None:
    response = kitchen.post(PREDICT, json={"instances": [{**ROW, "x" * 100_000: 1}]})

    assert response.status_code == 422
    assert len(response.content) < 1000


@pytest.mark.parametrize("options", [{"category_caps": {"Drama": 2**64}}, {"max_per_category": 2**64}])
def test_counts_that_no_runner_can_be_sent_are_not_valid(options: dict[str, Any]) -> None:
    response = Kitchen().post("/v1/recommendations", json={"user_id": "alice"} | options)

    assert response.status_code == 422
    assert "less than or equal to 9007199254740991" in response.json()["detail"]


def test_features_that_are_huge_integers_are_floats() -> None:
    asked = RecommendRequest.model_validate_json(b'{"user_id": "a", "user_features": {"age": 18446744073709551616}}')

    assert type(asked.user_features["age"]) is float

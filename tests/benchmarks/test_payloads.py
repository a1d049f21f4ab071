from __future__ import annotations

import json
from typing import Any

import pytest
from multipart import MultipartSegment, PushMultipartParser

from benchmarks.cases import Case, accepts, overhead_cases, random_rows
from benchmarks.payloads import Style, build_request

ROW = {"age": 40, "sex": "female"}
IMAGE = b"\xff\xd8jpeg\r\n--\xff\xd9"


def test_every_format_decodes_the_result_of_its_response() -> None:
    responses: dict[Style, bytes] = {
        "json": b'{"probabilities": [[0.25, 0.75]]}',
        "mosec": b'{"probabilities": [[0.25, 0.75]]}',
        "v2": json.dumps({"outputs": [{"data": ['{"probabilities": [[0.25, 0.75]]}']}]}).encode(),
        "v2-table": b'{"outputs": [{"name": "predict_proba", "shape": [1, 2], "data": [0.25, 0.75]}]}',
        "ours": b'{"predictions": [{"prediction": "bad", "probabilities": {"good": 0.75, "bad": 0.25}}]}',
    }
    for style, body in responses.items():
        request = build_request(style, "tabular", Case({"instances": [ROW]}, [[0.25, 0.75]]), classes=("bad", "good"))
        result = request.decode(body)
        assert result == [[0.25, 0.75]], style
        assert request.accepts(result, request.expected), style


def test_a_form_contains_the_bytes_of_the_image() -> None:
    request = build_request("ours", "image", Case(IMAGE, 3))
    file = bytearray()
    with PushMultipartParser(request.content_type.partition("boundary=")[2]) as parser:
        for event in parser.parse(request.body):
            if event is not None and not isinstance(event, MultipartSegment):
                file += event
    assert bytes(file) == IMAGE


def test_an_image_is_sent_as_bytes_or_in_base64() -> None:
    assert build_request("mosec", "image", Case(IMAGE, 3)).body == IMAGE
    sent = json.loads(build_request("v2", "image", Case(IMAGE, 3)).body)
    assert sent["inputs"][0]["data"] == ["/9hqcGVnDQotLf/Z"]


def test_a_table_is_sent_by_columns() -> None:
    sent = json.loads(build_request("v2-table", "tabular", Case({"instances": [ROW]}, None)).body)
    assert [(column["name"], column["datatype"], column["data"]) for column in sent["inputs"]] == [
        ("age", "FP64", [40]),
        ("sex", "BYTES", ["female"]),
    ]


def test_the_overhead_request_has_the_format_of_each_server() -> None:
    case = Case({"values": [1.0, 2.0]}, 3.0)
    assert json.loads(build_request("ours", "overhead", case).body) == [1.0, 2.0]
    assert json.loads(build_request("json", "overhead", case).body) == {"values": [1.0, 2.0]}
    assert build_request("ours", "overhead", case).decode(b'{"sums": [3.0], "version": "v1"}') == 3.0


@pytest.mark.parametrize(
    ("kind", "result", "expected", "is_accepted"),
    [
        ("overhead", 100.0004, 100.0, True),
        ("overhead", 101.0, 100.0, False),
        ("tabular", [[0.2, 0.8]], [[0.2004, 0.7996]], True),
        ("tabular", [[0.2, 0.8]], [[0.3, 0.7]], False),
        ("tabular", [[0.2, 0.8], [0.2, 0.8]], [[0.2, 0.8]], False),
        ("image", 3, 3, True),
        ("image", 4, 3, False),
        ("recommender", list("abcdefghix"), list("abcdefghij"), True),
        ("recommender", list("abcdefghxy"), list("abcdefghij"), False),
        ("recommender", list("abcdefghi"), list("abcdefghij"), False),
    ],
)
def test_results_are_accepted_within_rounding_and_ties(
    kind: str, result: object, expected: object, is_accepted: bool
) -> None:
    assert accepts(kind, result, expected) is is_accepted  # type: ignore[arg-type]  # a str from the table


def test_cases_are_reproducible_and_distinct() -> None:
    first, second = overhead_cases(), overhead_cases()
    assert first == second
    assert len({case.expected for case in first}) == len(first)
    assert first[0].expected == pytest.approx(sum(first[0].request["values"]))


def test_random_rows_match_the_columns_of_the_card() -> None:
    columns: list[dict[str, Any]] = [
        {"name": "age", "kind": "integer", "minimum": 19, "maximum": 21, "categories": []},
        {"name": "sex", "kind": "category", "minimum": None, "maximum": None, "categories": ["f", "m"]},
        {"name": "member", "kind": "boolean", "minimum": None, "maximum": None, "categories": []},
        {"name": "sum", "kind": "number", "minimum": 0.5, "maximum": 0.6, "categories": []},
    ]
    rows = random_rows(columns, 50)
    assert {row["age"] for row in rows} == {19, 20, 21}
    assert {row["sex"] for row in rows} == {"f", "m"}
    assert {row["member"] for row in rows} == {True, False}
    assert all(0.5 <= row["sum"] <= 0.6 for row in rows)

from __future__ import annotations

import json
from typing import Any

import pytest
from python_multipart.multipart import MultipartParser

from benchmarks.payloads import Style, put
from benchmarks.scenarios import Case, accepts, overhead_cases, random_rows

ROW = {"age": 40, "sex": "female"}
IMAGE = b"\xff\xd8jpeg\r\n--\xff\xd9"


def test_every_style_reads_the_answer_out_of_its_response() -> None:
    answers: dict[Style, bytes] = {
        "plain": b'{"probabilities": [[0.25, 0.75]]}',
        "mosec": b'{"probabilities": [[0.25, 0.75]]}',
        "v2": json.dumps({"outputs": [{"data": ['{"probabilities": [[0.25, 0.75]]}']}]}).encode(),
        "v2-table": b'{"outputs": [{"name": "predict_proba", "shape": [1, 2], "data": [0.25, 0.75]}]}',
        "ours": b'{"predictions": [{"prediction": "bad", "probabilities": {"good": 0.75, "bad": 0.25}}]}',
    }
    for style, answer in answers.items():
        asked = put(style, "tabular", Case({"instances": [ROW]}, [[0.25, 0.75]]), classes=("bad", "good"))
        found = asked.read(answer)
        assert found == [[0.25, 0.75]], style
        assert asked.accepts(found, asked.expected), style


def test_an_image_in_a_form_is_the_bytes_of_the_file() -> None:
    asked = put("ours", "image", Case(IMAGE, 3))
    found = bytearray()
    parser = MultipartParser(
        asked.content_type.partition("boundary=")[2].encode(),
        {"on_part_data": lambda data, start, end: found.extend(data[start:end])},
    )
    parser.write(asked.body)
    parser.finalize()
    assert bytes(found) == IMAGE


def test_an_image_as_it_is_and_in_base64() -> None:
    assert put("mosec", "image", Case(IMAGE, 3)).body == IMAGE
    sent = json.loads(put("v2", "image", Case(IMAGE, 3)).body)
    assert sent["inputs"][0]["data"] == ["/9hqcGVnDQotLf/Z"]


def test_a_table_goes_by_columns() -> None:
    sent = json.loads(put("v2-table", "tabular", Case({"instances": [ROW]}, None)).body)
    assert [(column["name"], column["datatype"], column["data"]) for column in sent["inputs"]] == [
        ("age", "FP64", [40]),
        ("sex", "BYTES", ["female"]),
    ]


def test_the_sum_is_asked_for_as_each_server_wants_it() -> None:
    case = Case({"values": [1.0, 2.0]}, 3.0)
    assert json.loads(put("ours", "overhead", case).body) == [1.0, 2.0]
    assert json.loads(put("plain", "overhead", case).body) == {"values": [1.0, 2.0]}
    assert put("ours", "overhead", case).read(b'{"sums": [3.0], "version": "v1"}') == 3.0


@pytest.mark.parametrize(
    ("kind", "found", "expected", "good"),
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
def test_an_answer_is_right_up_to_rounding_and_ties(kind: str, found: object, expected: object, good: bool) -> None:
    assert accepts(kind, found, expected) is good  # type: ignore[arg-type]  # text from the table above


def test_questions_are_the_same_every_time_and_differ_among_themselves() -> None:
    first, second = overhead_cases(), overhead_cases()
    assert first == second
    assert len({case.expected for case in first}) == len(first)
    assert first[0].expected == pytest.approx(sum(first[0].request["values"]))


def test_random_rows_stay_within_what_the_card_says() -> None:
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

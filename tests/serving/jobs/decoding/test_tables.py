"""Rows of tables as items: a faulty row fails without the others, and a faulty table is refused."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import orjson
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError, InputTooLarge, InvalidInput
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.task import CSV, NDJSON, PARQUET
from serving.jobs.storage.item_file import read_items
from tests.hostile_json import names
from tests.serving.jobs.decoding.uploads import HEADER, ROW, fuzz, heads, parquet
from tests.serving.jobs.job_fixtures import decode_task


def test_cells_are_values_of_their_columns(tmp_path: Path) -> None:
    text = "\ufeff" + HEADER + '33,male,,true\r\n\n" 3 ",,1e3,0\n-1,"a ""b""\n,c",.5,FALSE\nx,5,1_0,maybe\n'

    assert [head["row"] for head in heads(tmp_path, text, CSV)] == [
        ROW,
        {"age": 3, "sex": "", "income": 1000.0, "owns": False},
        {"age": -1, "sex": 'a "b"\n,c', "income": 0.5, "owns": False},
        {"age": "x", "sex": "5", "income": "1_0", "owns": "maybe"},
    ]


def test_columns_may_be_in_any_order_and_optional_ones_may_be_absent(tmp_path: Path) -> None:
    assert heads(tmp_path, "sex,age\nmale,33\n", CSV) == [{"row": {"sex": "male", "age": 33}}]


def test_a_row_of_another_length_fails_without_the_others(tmp_path: Path) -> None:
    rows_read = heads(tmp_path, "age,sex\n1,a\n2\n3,c,d\n4,e\n", CSV)

    assert ["fault" in head for head in rows_read] == [False, True, True, False]
    assert rows_read[1]["fault"] == "the row has 1 cells, and the header 2"


def test_an_id_column_names_the_rows(tmp_path: Path) -> None:
    rows_read = heads(tmp_path, "key,age,sex\nr1,1,a\n", CSV, options={"id_column": "key"})
    assert rows_read == [{"id": "r1", "row": {"age": 1, "sex": "a"}}]

    assert heads(tmp_path, "age,sex\n1,a\n", CSV, options={"id_column": "sex"})[0]["id"] == "a"
    lines = b'{"age":1,"sex":"a","key":7}\n{"age":1,"sex":"a","key":[7]}\n'
    first, second = heads(tmp_path, lines, NDJSON, options={"id_column": "key"})
    assert (first["id"], first["row"]) == (7, {"age": 1, "sex": "a"})
    assert "fault" in second


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (HEADER.encode(), "no row"),
        (
            b"age,sex,colour\n",
            "no column 'colour'; known: age, income, owns, sex; leave them out with",
        ),
        (b"age,sex,colour,id\n", "no columns 'colour', 'id'; known: age"),
        (b"age,age,sex\n", "twice"),
        (b"age\n1\n", "'sex' is missing"),
        (b"age:sex\n1:a\n", "no column 'age:sex'"),
        (b"age,sex\n1,\xff\n", "not UTF-8"),
        ("age,sex\n1,ä\n".encode("utf-16"), "not UTF-8"),
        (b'age,sex\n1,"a\n2,b\n', "not CSV"),
        (b'age,sex\n1,"a"b\n', "line 2 is not CSV"),
        (b"\x89PNG\r\n\x1a\n", "not UTF-8"),
    ],
)
def test_an_invalid_table_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        decode(decode_task(tmp_path, data, CSV))


def test_a_line_over_the_limit_is_refused(tmp_path: Path) -> None:
    for content_type in (CSV, NDJSON):
        with pytest.raises(InputTooLarge, match="longer than"):
            decode(decode_task(tmp_path, b"a" * (1 << 20), content_type))


def test_a_line_that_is_not_an_object_fails_without_the_others(tmp_path: Path) -> None:
    rows_read = heads(tmp_path, b'{"age":1}\n\n[1]\n{"age":\n\xff\n"a"\n{"age":NaN}\n{"b":2}', NDJSON)

    assert ["fault" in head for head in rows_read] == [False, True, True, True, True, True, False]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"age":%b}' % (b"[" * 900 + b"]" * 900), id="deep"),
        pytest.param(b"{%b}" % names(20_000), id="fields"),
        pytest.param(b'{"age":[%b[0]]}' % (b"[0,0,0],[]," * 5_000), id="lists"),
    ],
)
def test_a_deep_or_large_row_fails_without_the_others(tmp_path: Path, line: bytes) -> None:
    rows_read = heads(tmp_path, b'{"age":1}\n%b\n{"age":[[2]]}\n' % line, NDJSON)

    assert ["fault" in head for head in rows_read] == [False, True, False]


def test_a_parquet_row_with_a_long_text_fails_without_the_others(tmp_path: Path) -> None:
    rows = [{"age": 1, "sex": "a"}, {"age": 1, "sex": "x" * (2 << 20)}, {"age": 1, "sex": "b"}]

    assert ["fault" in head for head in heads(tmp_path, parquet(rows), PARQUET)] == [False, True, False]


def test_parquet_has_the_same_rows(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "income": float("nan")}, {**ROW, "sex": None}]

    rows_read = heads(tmp_path, parquet(rows), PARQUET)

    assert [head["row"] for head in rows_read] == [ROW, ROW, {**ROW, "sex": None}]


def test_values_without_a_json_form_fail_or_become_text(tmp_path: Path) -> None:
    import datetime
    import decimal

    day = parquet([{"age": datetime.date(2026, 1, 2), "sex": "a", "income": decimal.Decimal("1.5")}])
    assert heads(tmp_path, day, PARQUET) == [{"row": {"age": "2026-01-02", "sex": "a", "income": 1.5}}]

    (head,) = heads(tmp_path, parquet([{"age": 1, "sex": b"\xff"}]), PARQUET)
    assert "bytes" in head["fault"]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", parquet([ROW])[:-20], b"age,sex\n"])
def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InvalidInput, match="Parquet"):
        decode(decode_task(tmp_path, data, PARQUET))


def test_parquet_with_other_columns_or_too_many_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'sex' is missing"):
        decode(decode_task(tmp_path, parquet([{"age": 1}]), PARQUET))
    with pytest.raises(InputTooLarge, match="at most 1000"):
        decode(decode_task(tmp_path, parquet([ROW] * 1001), PARQUET))
    with pytest.raises(InvalidInput, match="no row"):
        decode(decode_task(tmp_path, _without_rows(), PARQUET))


def _without_rows() -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW]).slice(0, 0), buffer)
    return buffer.getvalue()


cells = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)


@given(st.lists(st.tuples(cells, cells, cells, cells), min_size=1, max_size=6))
@fuzz
def test_every_row_of_any_csv_is_an_item(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["age", "sex", "income", "owns"])
    writer.writerows(rows)

    rows_read = heads(tmp_path, buffer.getvalue(), CSV)

    assert len(rows_read) == len(rows)
    assert [head["row"]["sex"] for head in rows_read] == [row[1].strip() for row in rows]


@given(st.lists(st.tuples(st.one_of(st.none(), st.text(max_size=9)), st.floats() | st.none()), min_size=1, max_size=9))
@fuzz
def test_every_row_of_any_parquet_is_an_item(tmp_path: Path, rows: list[tuple[str | None, float | None]]) -> None:
    table = pyarrow.table(
        {
            "age": pyarrow.array([1] * len(rows), pyarrow.int64()),
            "sex": pyarrow.array([text for text, _ in rows], pyarrow.string()),
            "income": pyarrow.array([number for _, number in rows], pyarrow.float64()),
        }
    )
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)

    rows_read = heads(tmp_path, buffer.getvalue(), PARQUET)

    assert [head["row"]["sex"] for head in rows_read] == [text and text.strip() for text, _ in rows]


@given(st.binary(max_size=200), st.integers(0, 2000))
@fuzz
def test_mutated_parquet_is_items_or_refused(tmp_path: Path, noise: bytes, at: int) -> None:
    data = parquet([ROW] * 5)
    at %= len(data)
    try:
        decode(decode_task(tmp_path, data[:at] + noise + data[at + len(noise) :], PARQUET))
    except InputError:
        return
    assert orjson.dumps(dict(read_items(tmp_path, 0, 1)[0].head))

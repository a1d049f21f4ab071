"""Export of results as CSV and Parquet in a child process."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow.parquet
import pytest

from serving.errors.exceptions import JobsUnavailable
from serving.jobs.decoding.sandbox import Sandbox
from serving.jobs.export import Export, export_in_child, write

V1, V2 = {"name": "tabular", "version": "v1"}, {"name": "tabular", "version": "v2"}
LINES: list[dict[str, Any]] = [
    {"index": 0, "id": "r,1", "status": "ok", "prediction": "good", "probabilities": {"good": 1.0}, "model": V1},
    {"index": 1, "id": None, "status": "error", "error": {"status": 422, "detail": 'a "b"'}, "model": None},
    {"index": 2, "id": 7, "status": "ok", "prediction": "other", "probabilities": {"other": 0.5}, "model": V2},
]


def export(folder: Path, lines: list[dict[str, Any]], format_: Literal["csv", "parquet"]) -> Export:
    """Return an export of `lines` in two segments. The first has invalid bytes after its valid size."""
    dumped = [orjson.dumps(line) + b"\n" for line in lines]
    first, second = folder / "1.lines", folder / "2.lines"
    first.write_bytes(dumped[0] + b'{"index":1,"torn')
    second.write_bytes(b"".join(dumped[1:]))
    segments = ((first, len(dumped[0])), (second, second.stat().st_size))
    return Export(segments, format_, max_bytes=1 << 20, labels=("id", "name"))


def test_csv_has_a_column_for_each_member(tmp_path: Path) -> None:
    target = io.BytesIO()
    write(export(tmp_path, LINES, "csv"), target)

    rows = list(csv.DictReader(io.StringIO(target.getvalue().decode())))
    assert list(rows[0]) == [
        "index", "id", "status", "prediction", "probability_good", "probability_other", "error_status", "error",
        "model", "model_version",
    ]  # fmt: skip
    assert (rows[0]["id"], rows[0]["probability_good"], rows[0]["model_version"]) == ("r,1", "1.0", "v1")
    assert (rows[1]["error_status"], rows[1]["error"], rows[1]["prediction"]) == ("422", 'a "b"', "")
    assert rows[2]["probability_other"] == "0.5"


HOSTILE = (
    "=1+1", "@SUM(1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "\r=1", "\n=1", "  =1", "'tis", "''", "\uff1d1+1",
    "=HYPERLINK(\"http://x\")",
)  # fmt: skip
HARMLESS = ("good", "-5", "+49", "-1.5e-3", "a=1", "", "{}", "7", "é")


def written(export_: Export) -> bytes:
    target = io.BytesIO()
    write(export_, target)
    return target.getvalue()


def cells_of(content: bytes, column: str) -> list[str]:
    return [row[column] for row in csv.DictReader(io.StringIO(content.decode(), newline=""))]


def test_no_text_in_csv_is_a_formula_and_without_the_apostrophe_it_is_exact(tmp_path: Path) -> None:
    texts = [*HOSTILE, *HARMLESS]
    lines = [{"index": number, "id": text, "=column": text} for number, text in enumerate(texts)]
    content = written(export(tmp_path, lines, "csv"))
    cells = cells_of(content, "id")

    assert not [cell for cell in cells if cell.lstrip(" ").startswith(("=", "@", "\t", "\r", "\n", "\uff1d"))]
    assert [cell.removeprefix("'") for cell in cells] == texts
    assert cells[len(HOSTILE) :] == list(HARMLESS)
    assert cells_of(content, "'=column") == cells


def test_numbers_in_csv_are_numbers_and_formulas_are_kept_on_request(tmp_path: Path) -> None:
    lines = [{"index": number, "id": text, "score": -0.5} for number, text in enumerate(HOSTILE)]
    content = written(replace(export(tmp_path, lines, "csv"), has_formulas=True))
    assert cells_of(content, "id") == list(HOSTILE)
    assert set(cells_of(content, "score")) == {"-0.5"}
    table = pyarrow.parquet.read_table(io.BytesIO(written(export(tmp_path, lines, "parquet"))))
    assert table.column("id").to_pylist() == list(HOSTILE)


def test_parquet_has_types_and_a_child_process_writes_it(tmp_path: Path, sandbox: Sandbox) -> None:
    with export_in_child(sandbox, export(tmp_path, LINES, "parquet"), tmp_path) as file:
        rows = pyarrow.parquet.read_table(file).to_pylist()

    assert [row["index"] for row in rows] == [0, 1, 2]
    assert [row["id"] for row in rows] == ["r,1", None, "7"]
    assert [row["probability_good"] for row in rows] == [1.0, None, None]
    assert rows[1]["error_status"] == 422


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_a_result_without_lines_is_a_file_without_rows(format_: Literal["csv", "parquet"]) -> None:
    target = io.BytesIO()
    write(Export((), format_, max_bytes=1 << 20), target)
    assert target.getvalue()


def columns(name: str, value: Any) -> dict[str, Any] | None:
    return {"first": value[0], "all": orjson.dumps(value).decode()} if name == "values" else None


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_a_kind_converts_members_to_columns_and_other_lists_are_json(
    tmp_path: Path, sandbox: Sandbox, format_: Literal["csv", "parquet"]
) -> None:
    lines = [
        {"index": 0, "name": "a.png", "status": "ok", "values": [1, 2], "others": [{"a": 1}]},
        {"index": 1, "name": "b.png", "status": "ok", "values": [3], "others": {}},
    ]
    task = replace(export(tmp_path, lines, format_), columns=f"{__name__}:columns")
    with export_in_child(sandbox, task, tmp_path) as file:
        content = file.read()

    if format_ == "csv":
        rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(content.decode())))
    else:
        rows = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    assert list(rows[0]) == ["index", "name", "status", "first", "all", "others"]
    assert [str(row["first"]) for row in rows] == ["1", "3"]
    assert [(row["all"], row["others"]) for row in rows] == [("[1,2]", '[{"a":1}]'), ("[3]", "{}")]


def test_an_export_has_no_name_on_the_disk_and_one_that_is_too_large_raises(tmp_path: Path, sandbox: Sandbox) -> None:
    exported = export(tmp_path, LINES, "csv")
    before = sorted(tmp_path.iterdir())

    with export_in_child(sandbox, exported, tmp_path):
        assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(JobsUnavailable):
        export_in_child(sandbox, replace(exported, max_bytes=10), tmp_path)
    assert sorted(tmp_path.iterdir()) == before

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
    return Export(segments, folder / f"out.{format_}", format_, max_bytes=1 << 20, labels=("id", "name"))


def test_csv_has_a_column_for_each_member(tmp_path: Path) -> None:
    write(export(tmp_path, LINES, "csv"))

    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert list(rows[0]) == [
        "index", "id", "status", "prediction", "probability_good", "probability_other", "error_status", "error",
        "model", "model_version",
    ]  # fmt: skip
    assert (rows[0]["id"], rows[0]["probability_good"], rows[0]["model_version"]) == ("r,1", "1.0", "v1")
    assert (rows[1]["error_status"], rows[1]["error"], rows[1]["prediction"]) == ("422", 'a "b"', "")
    assert rows[2]["probability_other"] == "0.5"


def test_parquet_has_types_and_a_child_process_writes_it(tmp_path: Path, sandbox: Sandbox) -> None:
    export_in_child(sandbox, export(tmp_path, LINES, "parquet"))

    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert [row["id"] for row in rows] == ["r,1", None, "7"]
    assert [row["probability_good"] for row in rows] == [1.0, None, None]
    assert rows[1]["error_status"] == 422


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_a_result_without_lines_is_a_file_without_rows(tmp_path: Path, format_: Literal["csv", "parquet"]) -> None:
    exported = Export((), tmp_path / "out", format_, max_bytes=1 << 20)
    write(exported)
    assert exported.target.exists()


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
    export_in_child(sandbox, task)

    if format_ == "csv":
        rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(task.target.read_text())))
    else:
        rows = pyarrow.parquet.read_table(task.target).to_pylist()
    assert list(rows[0]) == ["index", "name", "status", "first", "all", "others"]
    assert [str(row["first"]) for row in rows] == ["1", "3"]
    assert [(row["all"], row["others"]) for row in rows] == [("[1,2]", '[{"a":1}]'), ("[3]", "{}")]


def test_an_export_that_cannot_be_written_raises_and_leaves_no_file(tmp_path: Path, sandbox: Sandbox) -> None:
    exported = export(tmp_path, LINES, "csv")
    exported = Export(exported.segments, exported.target, "csv", max_bytes=10)

    with pytest.raises(JobsUnavailable):
        export_in_child(sandbox, exported)
    assert not exported.target.exists()

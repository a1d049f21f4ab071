"""Lines become columns: the same answers as CSV and Parquet, made by another process."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow.parquet
import pytest

from serving.errors.exceptions import JobsUnavailable
from serving.jobs.export import Export, export_in_child, write

V1, V2 = {"name": "tabular", "version": "v1"}, {"name": "tabular", "version": "v2"}
LINES: list[dict[str, Any]] = [
    {"index": 0, "id": "r,1", "status": "ok", "prediction": "good", "probabilities": {"good": 1.0}, "model": V1},
    {"index": 1, "id": None, "status": "error", "error": {"status": 422, "detail": 'a "b"'}, "model": None},
    {"index": 2, "id": 7, "status": "ok", "prediction": "other", "probabilities": {"other": 0.5}, "model": V2},
]


def export(folder: Path, lines: list[dict[str, Any]], format_: Literal["csv", "parquet"]) -> Export:
    """An order for `lines` in two segments, the first with what does not count behind it."""
    dumped = [orjson.dumps(line) + b"\n" for line in lines]
    first, second = folder / "1.lines", folder / "2.lines"
    first.write_bytes(dumped[0] + b'{"index":1,"torn')
    second.write_bytes(b"".join(dumped[1:]))
    segments = ((first, len(dumped[0])), (second, second.stat().st_size))
    return Export(segments, folder / f"out.{format_}", format_, max_bytes=1 << 20)


def test_csv_has_a_column_for_each_part(tmp_path: Path) -> None:
    write(export(tmp_path, LINES, "csv"))

    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert list(rows[0]) == [
        "index", "id", "status", "prediction", "probability_good", "probability_other", "error_status", "error",
        "model", "model_version",
    ]  # fmt: skip
    assert (rows[0]["id"], rows[0]["probability_good"], rows[0]["model_version"]) == ("r,1", "1.0", "v1")
    assert (rows[1]["error_status"], rows[1]["error"], rows[1]["prediction"]) == ("422", 'a "b"', "")
    assert rows[2]["probability_other"] == "0.5"


def test_parquet_has_types_and_another_process_makes_it(tmp_path: Path) -> None:
    export_in_child(export(tmp_path, LINES, "parquet"))

    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert [row["id"] for row in rows] == ["r,1", None, "7"]
    assert [row["probability_good"] for row in rows] == [1.0, None, None]
    assert rows[1]["error_status"] == 422


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_a_result_without_lines_is_a_file_without_rows(tmp_path: Path, format_: Literal["csv", "parquet"]) -> None:
    made = Export((), tmp_path / "out", format_, max_bytes=1 << 20)
    write(made)
    assert made.target.exists()


def test_lists_are_json(tmp_path: Path) -> None:
    lines = [
        {"index": 0, "name": "a.png", "status": "ok", "predictions": [{"label": "cat", "confidence": 0.9}]},
        {"index": 1, "user_id": "u", "status": "ok", "items": [{"item_id": "1"}, {"item_id": "2"}], "reason": None},
    ]
    write(export(tmp_path, lines, "csv"))

    first, second = csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))
    assert (first["label"], first["confidence"]) == ("cat", "0.9")
    assert orjson.loads(first["predictions"]) == lines[0]["predictions"]
    assert (second["item_ids"], orjson.loads(second["items"])) == ("1 2", lines[1]["items"])


def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    made = export(tmp_path, LINES, "csv")
    made = Export(made.segments, made.target, "csv", max_bytes=10)

    with pytest.raises(JobsUnavailable):
        export_in_child(made)
    assert not made.target.exists()

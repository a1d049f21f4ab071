"""Cells of a table are read as training reads them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from models.tabular.row_encoder import RowEncoder
from serving.jobs.decoding.cells import reader_of, reader_of_text
from serving.jobs.decoding.task import CSV, PARQUET, ColumnSpec
from tests.serving.jobs.decoding.uploads import heads
from tests.training.example_tables import mixed_frame
from training.tabular.columns import ColumnRules, read_inputs
from training.tabular.datasets import read_frame


@pytest.mark.parametrize("content_type", [CSV, PARQUET])
def test_the_training_table_is_read_as_the_same_rows(tmp_path: Path, content_type: str) -> None:
    frame = mixed_frame()
    frame.loc[frame.index[5:9], "city"] = [" Köln ", "Köln  ", None, None]
    # Spreadsheets write missing values as words, and nullable integers as fractions.
    frame["size"] = np.resize(["S", "M", None, "L "], len(frame))
    frame["flag"] = np.resize(["T", "f", "F", "t"], len(frame))
    file = tmp_path / ("t.csv" if content_type == CSV else "t.parquet")
    if content_type == CSV:
        file.write_text(frame.to_csv(index=False, na_rep="N/A"))
    else:
        frame.to_parquet(file)
    inputs = read_inputs(read_frame(file).drop(columns="bought"), ColumnRules(), descriptions={})
    specs = tuple(ColumnSpec(c.name, c.kind, c.required, c.nullable, c.categories) for c in inputs.columns)
    columns = frame[[column.name for column in inputs.columns]]
    buffer = io.BytesIO()
    if content_type == CSV:
        buffer.write(columns.to_csv(index=False, na_rep="N/A").encode())
    else:
        columns.to_parquet(buffer)

    rows = [head["row"] for head in heads(tmp_path, buffer.getvalue(), content_type, columns=specs)]

    np.testing.assert_array_equal(RowEncoder.for_columns(inputs.columns).encode(rows), inputs.rows)
    assert {"flag", "vip", "city", "size"} <= {column.name for column in inputs.columns}


def spec(kind: str, *, is_nullable: bool = False, categories: tuple[str, ...] = ()) -> ColumnSpec:
    return ColumnSpec("x", kind, is_required=True, is_nullable=is_nullable, categories=categories)


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        (spec("boolean"), " Yes", True),
        (spec("boolean"), "f", False),
        (spec("boolean"), "perhaps", "perhaps"),
        (spec("boolean"), "NA", "NA"),
        (spec("boolean", is_nullable=True), "NA", None),
        (spec("integer"), "5.0", 5),
        (spec("integer"), "5.5", 5.5),
        (spec("number", is_nullable=True), " - ", None),
        (spec("number", is_nullable=True), "-1", -1),
        (spec("category", is_nullable=True), "None", None),
        (spec("category", is_nullable=True, categories=("None", "x")), "None", "None"),
        (spec("category"), " x ", "x"),
        (spec("text"), " x ", " x "),
    ],
)
def test_a_cell_is_read_as_training_reads_it(column: ColumnSpec, text: str, value: object) -> None:
    read = reader_of(column)(text)
    assert (read, type(read)) == (value, type(value))


def test_text_in_a_typed_table_is_neither_a_number_nor_missing() -> None:
    assert reader_of_text(spec("number", is_nullable=True))("5") == "5"
    assert reader_of_text(spec("category", is_nullable=True))("NA") == "NA"
    assert reader_of_text(spec("boolean"))("no") is False

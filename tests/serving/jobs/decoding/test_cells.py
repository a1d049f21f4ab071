"""Cells of a table are read as training reads them."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.card import Column
from models.errors import InvalidInput
from models.tabular.row_encoder import RowEncoder
from serving.jobs.decoding.task import CSV, NDJSON, PARQUET
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
    columns = frame[[column.name for column in inputs.columns]]
    buffer = io.BytesIO()
    if content_type == CSV:
        buffer.write(columns.to_csv(index=False, na_rep="N/A").encode())
    else:
        columns.to_parquet(buffer)

    rows = [head["row"] for head in heads(tmp_path, buffer.getvalue(), content_type, columns=inputs.columns)]

    np.testing.assert_array_equal(RowEncoder.for_columns(inputs.columns).encode(rows), inputs.rows)
    assert {"flag", "vip", "city", "size"} <= {column.name for column in inputs.columns}


@pytest.mark.parametrize("name", ["blanks", "semicolons", "excel", "gzip", "mark"])
def test_a_file_as_programs_write_it_can_be_trained_on_and_sent_back(tmp_path: Path, name: str) -> None:
    rows = [(number, f"1,{number:03}", ["red", "dark blue"][number % 2], number / 4) for number in range(120)]
    lines = ["size, price ,colour,y"] + [f'{size}, "{price}", {colour} ,{y}' for size, price, colour, y in rows]
    text = "\n".join(lines) + "\n"
    if name in ("semicolons", "excel"):
        decimal = [f"{size};{size},5;{colour};{y}" for size, _, colour, y in rows]
        text = "\n".join(["size;price;colour;y", *decimal]) + "\n"
    content = {
        "excel": ("sep=;\r\n" + text).encode(),
        "gzip": gzip.compress(("\n\n" + text).encode()),
        "mark": b"\xef\xbb\xbf" + text.encode(),
    }.get(name, text.encode())
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    inputs = read_inputs(read_frame(file).drop(columns="y"), ColumnRules(), descriptions={})
    assert {column.name: column.kind for column in inputs.columns}["price"] in ("integer", "number")

    options = {"extra": "ignore"}
    items = heads(tmp_path, content, CSV, columns=inputs.columns, options=options)

    encoded = RowEncoder.for_columns(inputs.columns).encode([item["row"] for item in items])
    np.testing.assert_array_equal(encoded, inputs.rows)


@pytest.mark.parametrize("content_type", [CSV, NDJSON, PARQUET])
def test_extra_columns_are_left_out_or_refused(tmp_path: Path, content_type: str) -> None:
    frame = pd.DataFrame({"a": [1, 2], "target": ["x", "y"], "name": ["p", "q"]})
    content = {
        CSV: frame.to_csv(index=False).encode(),
        NDJSON: frame.to_json(orient="records", lines=True).encode(),
        PARQUET: frame.to_parquet(),
    }[content_type]
    columns = (Column("a", "integer"),)
    options = {"extra": "ignore", "id_column": "name"}
    assert list(heads(tmp_path, content, content_type, columns=columns, options=options)) == [
        {"row": {"a": 1}, "id": "p"},
        {"row": {"a": 2}, "id": "q"},
    ]
    if content_type != NDJSON:
        with pytest.raises(InvalidInput, match="there are no columns 'target', 'name'; known: a; leave them out with"):
            list(heads(tmp_path, content, content_type, columns=columns))

"""Read columns of tables as numbers and as times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.errors import DataInvalid
from models.tables import columns
from models.tables.cells import number_of
from training.tables import Table


def numbers(table: Table, column: str) -> NDArray[np.float64]:
    """Return a column as float64. Raises DataInvalid with the first row that holds no number."""
    values = _as_numbers(table, column, table.column(column))
    if not np.isfinite(values).all():
        row = int(np.argmax(~np.isfinite(values)))
        raise DataInvalid(
            f"column '{column}' of '{table.name}' has no number in row {row + 1}; fill it or drop the row"
        )
    return values


def unix_seconds(table: Table, column: str, *, empty: int | None = None) -> NDArray[np.int64]:
    """Return a column of times as Unix seconds, int64, read as `models.tables.columns.unix_seconds` does.

    `empty` is the value of an empty cell; without it, an empty cell raises DataInvalid.
    """
    try:
        times = columns.unix_seconds(table.column(column))
    except (ValueError, pa.ArrowException) as error:
        raise DataInvalid(
            f"column '{column}' of '{table.name}' holds no times: it {_short(error)}; use Unix time or ISO 8601"
        ) from error
    missing = np.isnan(times)
    if missing.any() and empty is None:
        raise DataInvalid(f"column '{column}' of '{table.name}' has no time in row {int(np.argmax(missing)) + 1}")
    return np.where(missing, empty or 0, np.nan_to_num(times).astype(np.int64))


def _as_numbers(table: Table, column: str, values: Any) -> NDArray[np.float64]:  # Any: pyarrow.ChunkedArray
    try:
        return np.asarray(values.cast(pa.float64()).to_numpy(), np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if pa.types.is_string(values.type):
            # Numbers as spreadsheets write them, such as 1,234.
            read = {text: None if text is None else number_of(text) for text in pc.unique(values).to_pylist()}
            if all(number is not None for text, number in read.items() if text):
                return np.array([read[text] for text in values.to_pylist()], np.float64)
        raise DataInvalid(f"column '{column}' of '{table.name}' is not numeric: {_short(error)}") from error


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200]

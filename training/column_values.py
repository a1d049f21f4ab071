"""Read columns of tables as numbers and as times."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.errors import DataInvalid
from training.tables import Table

# As seconds this is the year 5138.
_MILLISECONDS_FROM = 1e11


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
    """Return a column of times as Unix seconds, int64.

    Numbers are seconds, or milliseconds when they are large; timestamps and ISO 8601 text are converted. `empty` is the
    value of an empty cell; without it, an empty cell raises DataInvalid.
    """
    values = table.column(column)
    if pa.types.is_string(values.type):
        # An empty cell of a CSV file is empty text.
        blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(values), ""), True)
        values = pc.if_else(blank, pa.scalar(None, pa.string()), values)
    if pa.types.is_string(values.type) or pa.types.is_temporal(values.type):
        try:
            values = values.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataInvalid(
                f"column '{column}' of '{table.name}' holds no times: {_short(error)}; use Unix seconds or ISO 8601"
            ) from error
    times = _as_numbers(table, column, values)
    missing = ~np.isfinite(times)
    if missing.any() and empty is None:
        raise DataInvalid(f"column '{column}' of '{table.name}' has no time in row {int(np.argmax(missing)) + 1}")
    seconds = np.full(len(table), empty or 0, np.int64)
    present = times[~missing]
    if len(present):
        seconds[~missing] = present / 1000 if np.median(present) > _MILLISECONDS_FROM else present
    return seconds


def _as_numbers(table: Table, column: str, values: pa.ChunkedArray) -> NDArray[np.float64]:
    try:
        return np.asarray(values.cast(pa.float64()).to_numpy(), np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataInvalid(f"column '{column}' of '{table.name}' is not numeric: {_short(error)}") from error


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200]

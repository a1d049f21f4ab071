"""The rows that a fitted model takes, a DataFrame or an array: as columns of a card, and as a request sends them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.card import Column
from models.errors import DataInvalid
from models.limits import MAX_NUMBER, MAX_SAFE_INTEGER
from models.tabular.row_encoder import RowEncoder
from training.tabular.columns import with_examples

MAX_CATEGORIES = 5_000
# Rows of `mixed`, at most, and how near their numbers are to those of a given row.
MIXED_ROWS = 1_000
_SHARE = 0.63


@dataclass(frozen=True, slots=True)
class Rows:
    """N rows in three forms.

    `given` is what the model takes, `encoded` is float64 (N, W) as the service encodes the same rows. `tables[i]` holds
    the values of the categories of column i, in their order; it is empty for a column without categories.
    """

    given: Any  # Any: a DataFrame or an array
    columns: tuple[Column, ...]
    values: tuple[list[object], ...]
    tables: tuple[tuple[object, ...], ...]
    encoded: NDArray[np.float64]

    @property
    def has_categories(self) -> bool:
        """Return whether one of the columns has categories."""
        return any(column.kind == "category" for column in self.columns)

    def __len__(self) -> int:
        return len(self.encoded)

    def with_columns(self, columns: Sequence[Column]) -> Rows:
        """Return the same rows encoded for other columns of the same names."""
        encoded = RowEncoder.for_columns(columns).encode_columns(self.values)
        return replace(self, columns=tuple(columns), encoded=encoded)


def mixed(rows: Rows, *, seed: int = 0) -> Rows:
    """Return rows that are not among the given ones: the cells of each column in another order, numbers in between.

    They show where a conversion agrees on the given rows only.
    """
    random = np.random.default_rng(seed)
    places = random.permutation(len(rows))[:MIXED_ROWS]
    encoded = np.empty((len(places), rows.encoded.shape[1]))
    columns = []
    for number, column in enumerate(rows.columns):
        cells = _cells(rows.given, number)
        others = random.permutation(len(rows))[: len(places)]
        if column.kind == "number" and pd.api.types.is_float_dtype(cells.dtype):
            between = _SHARE * cells.iloc[places].to_numpy() + (1 - _SHARE) * cells.iloc[others].to_numpy()
            columns.append(pd.Series(between).astype(cells.dtype))
            encoded[:, number] = columns[-1].to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            columns.append(cells.iloc[others].reset_index(drop=True))
            encoded[:, number] = rows.encoded[others, number]
    frame = pd.concat(columns, axis=1)
    if isinstance(rows.given, pd.DataFrame):
        frame.columns = rows.given.columns
        return replace(rows, given=frame, encoded=encoded)
    return replace(rows, given=frame.to_numpy(), encoded=encoded)


def _cells(given: Any, number: int) -> pd.Series:  # Any: a DataFrame or an array
    cells: pd.Series = given.iloc[:, number] if isinstance(given, pd.DataFrame) else pd.Series(given[:, number])
    return cells


def read_rows(given: Any) -> Rows:  # Any: whatever the caller has
    """Read rows. Every column is used, because the model takes all of them.

    Raises DataInvalid that names the first column that a request could not send.
    """
    frame = given if isinstance(given, pd.DataFrame) else _frame_of(given)
    _check_names(frame)
    if not len(frame):
        raise DataInvalid("X has no rows; give the rows that the model was fitted to, or a sample of them")
    read = [_read(str(name), frame.iloc[:, position]) for position, name in enumerate(frame.columns)]
    columns = with_examples([column for column, _, _ in read], [values for _, values, _ in read])
    return Rows(
        given=given if isinstance(given, pd.DataFrame) else frame.to_numpy(),
        columns=tuple(columns),
        values=tuple(values for _, values, _ in read),
        tables=tuple(table for _, _, table in read),
        encoded=RowEncoder.for_columns(columns).encode_columns([values for _, values, _ in read]),
    )


def _frame_of(given: Any) -> pd.DataFrame:
    if hasattr(given, "toarray"):
        raise DataInvalid("X is a sparse matrix; give X.toarray(): a request sends every column")
    if hasattr(given, "to_pandas"):
        raise DataInvalid(f"X is a {type(given).__name__}; give X.to_pandas()")
    array = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    if array.ndim != 2:
        raise DataInvalid(f"X has {array.ndim} dimensions {array.shape}; give rows and columns, (N, F)")
    if array.dtype.kind not in "biuf":
        raise DataInvalid(f"X is an array of type {array.dtype}; give numbers, or a DataFrame with one type per column")
    return pd.DataFrame(array, columns=[f"x{number}" for number in range(array.shape[1])])


def _check_names(frame: pd.DataFrame) -> None:
    if isinstance(frame.columns, pd.MultiIndex):
        raise DataInvalid("the columns of X have several levels; give each column one name")
    names = [str(name) for name in frame.columns]
    if not names:
        raise DataInvalid("X has no columns")
    if not all(name.strip() for name in names):
        raise DataInvalid(f"column {next(i for i, name in enumerate(names) if not name.strip())} of X has no name")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataInvalid(f"X has several columns named {', '.join(map(repr, repeated))}; rename them")


def _read(name: str, series: pd.Series) -> tuple[Column, list[object], tuple[object, ...]]:
    """Return the column, its values as JSON has them, and the values of its categories."""
    missing = bool(series.isna().any())
    if series.isna().all():
        raise DataInvalid(f"column '{name}' of X has no value at all; leave it out and fit the model without it")
    column = Column(name=name, kind="number", nullable=missing, required=not missing)
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories(column, series, tuple(series.cat.categories.tolist()))
    if pd.api.types.is_bool_dtype(dtype):
        return replace(column, kind="boolean"), _plain(series), ()
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        return (*_numbers(column, series), ())
    if pd.api.types.infer_dtype(series, skipna=True) == "string":
        return _categories(column, series, tuple(sorted(series.dropna().unique().tolist())))
    if pd.api.types.is_object_dtype(dtype):
        found = pd.api.types.infer_dtype(series, skipna=True)
        raise DataInvalid(f"column '{name}' of X is of type object and holds {found} values; convert it to one type")
    raise DataInvalid(
        f"column '{name}' of X is of type {dtype}; convert it to numbers or text, and fit the model to these"
    )


def _numbers(column: Column, series: pd.Series) -> tuple[Column, list[object]]:
    numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
    present = numbers[~np.isnan(numbers)]
    if (np.abs(present) > MAX_NUMBER).any():
        raise DataInvalid(f"column '{column.name}' of X holds infinity or a number over {MAX_NUMBER:.1e}")
    column = replace(column, minimum=float(present.min()), maximum=float(present.max()))
    is_exact = np.abs(present).max() <= MAX_SAFE_INTEGER
    if pd.api.types.is_integer_dtype(series.dtype) and is_exact:
        return replace(column, kind="integer"), _plain(series)
    return column, [None if np.isnan(number) else number for number in numbers.tolist()]


def _categories(
    column: Column, series: pd.Series, table: tuple[object, ...]
) -> tuple[Column, list[object], tuple[object, ...]]:
    names = tuple(map(str, table))
    if len(set(names)) != len(names):
        raise DataInvalid(f"column '{column.name}' of X has categories of several types that are written alike")
    if len(names) > MAX_CATEGORIES:
        raise DataInvalid(
            f"column '{column.name}' of X has {len(names):,} different texts, at most {MAX_CATEGORIES:,} are served as "
            "categories; for free text give a list of texts as X and fit a pipeline of TfidfVectorizer to it"
        )
    values: list[object] = [None if value is None else str(value) for value in _plain(series)]
    return replace(column, kind="category", categories=names), values, table


def _plain(series: pd.Series) -> list[Any]:  # Any: JSON scalars
    values: list[Any] = series.astype(object).where(series.notna(), None).tolist()
    return values

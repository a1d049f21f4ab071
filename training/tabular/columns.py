"""Select and type the input columns of a table: numbers, integers, booleans, categories, dates, free text.

Every column that is left out is reported with a reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.card import BOOLEAN_WORDS, MISSING_WORDS, Column
from models.errors import DataInvalid
from models.limits import MAX_NUMBER, MAX_SAFE_INTEGER
from models.tables.cells import reader_of
from models.tables.dates import iso_date
from models.tabular.row_encoder import RowEncoder
from training.tabular.text_columns import text_type

_ID_NAME = re.compile(r"(?i:(^|[\W_])(id|uuid|guid|index|key)$|^(row|nr|no)$)|[a-z]I[dD]$")


@dataclass(frozen=True, slots=True)
class ColumnRules:
    """Columns to drop, the largest number of listed categories of a column, and the treatment of unknown categories.

    With `accept_unknown`, categories in fewer than `rare_rows` rows are encoded as unknown. `decimal` is the decimal
    separator of text cells.
    """

    drop: tuple[str, ...] = ()
    max_categories: int = 100
    accept_unknown: bool = False
    rare_rows: int = 5
    decimal: str = "."


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a model: their columns, the table encoded as in serving, float64 (N, W), the dropped columns with
    reasons, and notes on columns whose reading a user may want to check."""

    columns: tuple[Column, ...]
    rows: NDArray[np.float64]
    dropped: tuple[tuple[str, str], ...]
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def parts(self) -> tuple[slice, ...]:
        """The encoded columns of each input."""
        return RowEncoder.for_columns(self.columns).parts


@dataclass(frozen=True, slots=True)
class _Typed:
    column: Column
    values: list[object]
    reason: str = ""
    note: str = ""


def read_inputs(frame: pd.DataFrame, rules: ColumnRules, *, descriptions: Mapping[str, str]) -> Inputs:
    """Type and encode all columns of `frame`, which does not contain the target.

    Raises DataInvalid for infinite numbers, an unknown name in `rules.drop`, and a table without a usable column.
    """
    if unknown := [name for name in rules.drop if name not in frame.columns]:
        raise DataInvalid(f"no column {', '.join(map(repr, unknown))} to drop; known: {known_names(frame)}")
    columns: list[Column] = []
    values: list[list[object]] = []
    dropped: list[tuple[str, str]] = []
    notes: list[tuple[str, str]] = []
    for name in map(str, frame.columns):
        typed = _read_column(frame[name], rules)
        if typed.reason:
            dropped.append((name, typed.reason))
            continue
        if typed.note:
            notes.append((name, typed.note))
        description = "; ".join(filter(None, (descriptions.get(name), typed.column.description)))
        columns.append(replace(typed.column, description=description))
        values.append(typed.values)
    if not columns:
        raise DataInvalid("no usable column is left: " + "; ".join(f"{name}: {why}" for name, why in dropped))
    columns = with_examples(columns, values)
    rows = RowEncoder.for_columns(columns).encode_columns(values)
    return Inputs(tuple(columns), rows, tuple(dropped), tuple(notes))


def known_names(frame: pd.DataFrame) -> str:
    """Return the names of a table's columns, for messages."""
    return ", ".join(map(str, frame.columns))


def with_examples(columns: Sequence[Column], values: Sequence[list[object]]) -> list[Column]:
    """Add examples: the first row without a missing value, or else the first usable value of each column."""
    rows = len(values[0])
    complete = next((row for row in range(rows) if all(cells[row] is not None for cells in values)), None)
    with_examples = []
    for column, cells in zip(columns, values, strict=True):
        categories = set(column.categories)
        usable = (cell for cell in cells if cell is not None and (not categories or cell in categories))
        example = cells[complete] if complete is not None else next(usable)
        if categories and example not in categories:
            example = next(usable)
        with_examples.append(replace(column, example=example))  # type: ignore[arg-type]  # a number, a boolean or text
    return with_examples


def _read_column(series: pd.Series, rules: ColumnRules) -> _Typed:
    name = str(series.name)
    column = Column(name=name, kind="number")
    if name in rules.drop:
        return _Typed(column, [], "dropped by --drop")
    series = _plain(series)
    if reason := _reason_to_drop(series):
        return _Typed(column, [], reason)
    missing = bool(series.isna().any())
    column = replace(column, nullable=missing, required=not missing)
    if pd.api.types.is_string_dtype(series.dtype):
        return _read_text(column, series, rules)
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return _Typed(replace(column, kind="date"), _dates(series), note="dates: their parts are used")
    if pd.api.types.is_bool_dtype(series.dtype):
        return _Typed(replace(column, kind="boolean"), _values(series))
    return _read_numbers(column, series)


def _read_numbers(column: Column, series: pd.Series) -> _Typed:
    column = replace(column, minimum=float(series.min()), maximum=float(series.max()))
    if not pd.api.types.is_integer_dtype(series.dtype):
        return _Typed(column, _values(series))
    if max(abs(int(series.min())), abs(int(series.max()))) <= MAX_SAFE_INTEGER:
        return _Typed(replace(column, kind="integer"), _values(series))
    # Clients whose numbers are float64 cannot send such integers exactly.
    before, after = series.nunique(), series.astype("Float64").nunique()
    lost = f", and {before - after:,} of {before:,} distinct values become equal" if after < before else ""
    note = f"integers over {MAX_SAFE_INTEGER:,} are read as float64{lost}"
    return _Typed(column, _values(series.astype("Float64")), note=note)


def _read_text(column: Column, series: pd.Series, rules: ColumnRules) -> _Typed:
    series = series.str.strip()
    series = series.mask(series.isin(MISSING_WORDS))
    missing = bool(series.isna().any())
    column = replace(column, nullable=missing, required=not missing)
    present = series.dropna()
    if not len(present):
        return _Typed(column, [], "all values are missing")
    result = text_type(column, present, max_categories=rules.max_categories, decimal=rules.decimal)
    typed = result.column
    if result.reason:
        return _Typed(column, [], result.reason)
    if typed.kind == "category" and (rules.accept_unknown or typed.accepts_unknown):
        counts = present.value_counts()
        common = tuple(word for word in typed.categories if counts[word] >= rules.rare_rows)
        typed = replace(typed, categories=common or typed.categories, accepts_unknown=True)
    if typed.kind in ("category", "text"):
        return _Typed(typed, _values(series), note=result.note)
    read = reader_of(typed)
    truths = next((words for words in BOOLEAN_WORDS if typed.kind == "boolean" and _fits(present, words)), None)
    cells = {word: truths[word.lower()] if truths else read(word) for word in present.unique()}
    return _Typed(typed, [None if pd.isna(word) else cells[word] for word in series], note=result.note)


def _fits(present: pd.Series, words: Mapping[str, bool]) -> bool:
    return {word.lower() for word in present.unique()} <= words.keys()


def _plain(series: pd.Series) -> pd.Series:
    """Convert categories and objects to plain types, decimals to numbers, and NaN to missing values."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if pd.api.types.is_object_dtype(series.dtype):
        kind = pd.api.types.infer_dtype(series, skipna=True)
        if kind in ("boolean", "integer", "floating", "mixed-integer-float"):
            series = series.convert_dtypes()
        elif kind == "decimal":
            series = series.astype("Float64")
        elif kind == "string":
            series = series.astype("string")
        elif kind in ("date", "datetime"):
            series = pd.to_datetime(series, errors="coerce", utc=True)
    if pd.api.types.is_float_dtype(series.dtype):
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isinf(numbers).any() or (np.abs(numbers[~np.isnan(numbers)]) > MAX_NUMBER).any():
            raise DataInvalid(f"column '{series.name}' holds infinity or a number over {MAX_NUMBER:.1e}")
        series = pd.Series(pd.array(numbers, dtype="Float64"), name=series.name)
        series[np.isnan(numbers)] = pd.NA
    return series


def _reason_to_drop(series: pd.Series) -> str:
    name, dtype = str(series.name), series.dtype
    if not name.strip() or name.startswith("Unnamed: "):
        return "it has no name"
    present = series.dropna()
    if not len(present):
        return "all values are missing"
    known = (pd.api.types.is_numeric_dtype, pd.api.types.is_string_dtype, pd.api.types.is_datetime64_any_dtype)
    if not any(is_kind(dtype) for is_kind in known):
        return f"values of type {dtype} are not used"
    if pd.api.types.is_object_dtype(dtype):
        return "its values are of several types, or neither numbers nor text"
    distinct = present.nunique()
    if distinct == 1 and len(present) == len(series):
        return f"it is constant: {str(present.iloc[0])[:40]}"
    return _reason_of_integers(name, present, distinct) if pd.api.types.is_integer_dtype(dtype) else ""


def _reason_of_integers(name: str, present: pd.Series, distinct: int) -> str:
    if distinct < len(present):
        return ""
    if _ID_NAME.search(name):
        return "an id: every row has a different value"
    consecutive = int(present.max()) - int(present.min()) + 1 == len(present)
    return "row numbers: every row has a different value, without gaps" if consecutive else ""


def _values(series: pd.Series) -> list[object]:
    plain: list[object] = series.astype(object).where(series.notna(), None).tolist()
    return plain


def _dates(series: pd.Series) -> list[object]:
    if series.dt.tz is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    seconds = series.astype("datetime64[us]").astype("int64") / 1e6
    return [None if is_missing else iso_date(each) for each, is_missing in zip(seconds, series.isna(), strict=True)]

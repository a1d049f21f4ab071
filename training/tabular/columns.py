"""Select and type the input columns of a table: numbers, integers, booleans, categories.

Every column that is left out is reported with a reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.card import BOOLEAN_WORDS, Column
from models.errors import DataInvalid
from models.tabular.row_encoder import RowEncoder

_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}( .*)?")
_ID_NAME = re.compile(r"(?i:(^|[\W_])(id|uuid|guid|index|key)$|^(row|nr|no)$)|[a-z]I[dD]$")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,?\d+")
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class ColumnRules:
    """Columns to drop, the largest number of categories of a column, and the treatment of unknown categories.

    With `accept_unknown`, categories in fewer than `rare_rows` rows are encoded as unknown.
    """

    drop: tuple[str, ...] = ()
    max_categories: int = 100
    accept_unknown: bool = False
    rare_rows: int = 5


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a model: their columns, the table encoded as in serving, float32 (N, F), and the dropped columns
    with reasons."""

    columns: tuple[Column, ...]
    rows: NDArray[np.float32]
    dropped: tuple[tuple[str, str], ...]


def read_inputs(frame: pd.DataFrame, rules: ColumnRules, *, descriptions: Mapping[str, str]) -> Inputs:
    """Type and encode all columns of `frame`, which does not contain the target.

    Raises DataInvalid for infinite numbers, an unknown name in `rules.drop`, and a table without a usable column.
    """
    if unknown := [name for name in rules.drop if name not in frame.columns]:
        raise DataInvalid(f"no column {', '.join(map(repr, unknown))} to drop; known: {known_names(frame)}")
    columns: list[Column] = []
    values: list[list[object]] = []
    dropped: list[tuple[str, str]] = []
    for name in map(str, frame.columns):
        series = _plain(frame[name])
        reason = "dropped by --drop" if name in rules.drop else _reason_to_drop(series, rules)
        if reason:
            dropped.append((name, reason))
            continue
        column, column_values = _typed(series, rules)
        columns.append(
            replace(column, description="; ".join(filter(None, (descriptions.get(name), column.description))))
        )
        values.append(column_values)
    if not columns:
        raise DataInvalid("no usable column is left: " + "; ".join(f"{name}: {why}" for name, why in dropped))
    columns = _with_examples(columns, values)
    return Inputs(tuple(columns), RowEncoder.for_columns(columns).encode_columns(values), tuple(dropped))


def known_names(frame: pd.DataFrame) -> str:
    """Return the names of a table's columns, for messages."""
    return ", ".join(map(str, frame.columns))


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
    if pd.api.types.is_float_dtype(series.dtype):
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isinf(numbers).any() or (np.abs(numbers[~np.isnan(numbers)]) > _FLOAT32_MAX).any():
            raise DataInvalid(f"column '{series.name}' holds infinity or a number over {_FLOAT32_MAX:.1e}")
        series = pd.Series(pd.array(numbers, dtype="Float64"), name=series.name)
        series[np.isnan(numbers)] = pd.NA
    return series


def _reason_to_drop(series: pd.Series, rules: ColumnRules) -> str:
    name, dtype = str(series.name), series.dtype
    if not name.strip() or name.startswith("Unnamed: "):
        return "it has no name"
    present = series.dropna()
    if not len(present):
        return "all values are missing"
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return "dates and times are not used"
    if not any(is_kind(dtype) for is_kind in (pd.api.types.is_numeric_dtype, pd.api.types.is_string_dtype)):
        return f"values of type {dtype} are not used"
    if pd.api.types.is_object_dtype(dtype):
        return "its values are of several types, or neither numbers nor text"
    distinct = present.nunique()
    if distinct == 1 and len(present) == len(series):
        return f"it is constant: {str(present.iloc[0])[:40]}"
    if pd.api.types.is_integer_dtype(dtype):
        return _reason_of_integers(name, present, distinct)
    if pd.api.types.is_string_dtype(dtype):
        return _reason_of_text(present.str.strip(), distinct, rules)
    return ""


def _reason_of_integers(name: str, present: pd.Series, distinct: int) -> str:
    if distinct < len(present):
        return ""
    if _ID_NAME.search(name):
        return "an id: every row has a different value"
    consecutive = int(present.max()) - int(present.min()) + 1 == len(present)
    return "row numbers: every row has a different value, without gaps" if consecutive else ""


def _reason_of_text(present: pd.Series, distinct: int, rules: ColumnRules) -> str:
    if present.str.fullmatch(_DATE).all():
        return "dates and times are not used"
    numbers = pd.to_numeric(present, errors="coerce")
    if distinct > rules.max_categories and numbers.notna().mean() > 0.5:
        wrong = str(present[numbers.isna()].iloc[0])[:40]
        return f"mostly numbers, but also text such as '{wrong}'; correct such values or leave them empty"
    if distinct <= min(rules.max_categories, len(present) / 2):
        return ""
    if present.str.fullmatch(DECIMAL_COMMA).all():
        return f"it has a comma in numbers, as in '{present.iloc[0]}'; --decimal , reads them"
    if distinct == len(present):
        return "an id or free text: every row has a different value"
    if distinct > rules.max_categories:
        return f"free text or an id: {distinct:,} distinct values, more than {rules.max_categories} categories"
    return f"free text or an id: {distinct:,} distinct values in {len(present):,} rows"


def _typed(series: pd.Series, rules: ColumnRules) -> tuple[Column, list[object]]:
    name, missing = str(series.name), bool(series.isna().any())
    column = Column(name=name, kind="number", nullable=missing, required=not missing)
    if pd.api.types.is_string_dtype(series.dtype):
        return _typed_text(column, series.str.strip(), rules)
    if pd.api.types.is_bool_dtype(series.dtype):
        return replace(column, kind="boolean"), _values(series)
    kind = "integer" if pd.api.types.is_integer_dtype(series.dtype) else "number"
    return (
        replace(column, kind=kind, minimum=float(series.min()), maximum=float(series.max())),  # type: ignore[arg-type]
        _values(series),
    )


def _typed_text(column: Column, series: pd.Series, rules: ColumnRules) -> tuple[Column, list[object]]:
    present = series.dropna()
    lowered = {word.lower() for word in present.unique()}
    for words in BOOLEAN_WORDS:
        if lowered <= words.keys():
            truth = next((word for word in present.unique() if words[word.lower()]), "")
            values: list[object] = [None if pd.isna(word) else words[word.lower()] for word in series]
            return replace(column, kind="boolean", description=f"true means '{truth}'" if truth else ""), values
    counts = present.value_counts()
    categories = sorted(counts.index)
    if rules.accept_unknown:
        categories = [word for word in categories if counts[word] >= rules.rare_rows] or categories
    return (
        replace(column, kind="category", categories=tuple(categories), accepts_unknown=rules.accept_unknown),
        _values(series),
    )


def _values(series: pd.Series) -> list[object]:
    plain: list[object] = series.astype(object).where(series.notna(), None).tolist()
    return plain


def _with_examples(columns: Sequence[Column], values: Sequence[list[object]]) -> list[Column]:
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

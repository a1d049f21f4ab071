"""Read the column to predict: decide between classes and numbers, and encode its values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from models.card import Column
from models.errors import DataInvalid
from models.tables.cells import reader_of
from training.tabular.columns import known_names
from training.tabular.text_columns import text_type

TaskChoice = Literal["auto", "classification", "regression"]

# A numeric target with at most this many distinct values is read as classes.
FEW_VALUES = 10
MIN_ROWS = 50
# Fewer rows of a class cannot be spread over training, calibration and test.
MIN_CLASS_ROWS = 10
MAX_CLASSES = 500

# A number with a unit, a currency or separators around and in it.
_ALMOST_NUMBER = re.compile(r"[^\d\w]*([A-Z]{3} )?[+-]?\d[\d.,' \u00a0\u202f]*[^\d]{0,5}")


@dataclass(frozen=True, slots=True)
class Target:
    """The values to predict, one for each row of the table where `is_used` is set.

    `values` are class numbers 0..K-1 as int64, or float64 numbers. `classes` is empty for regression. Numeric labels
    are in numeric order, others in alphabetical order. `notes` describe decisions and omitted rows.
    """

    name: str
    classes: tuple[str, ...]
    values: NDArray[np.int64] | NDArray[np.float64]
    is_used: NDArray[np.bool_]
    label_type: str
    notes: tuple[str, ...]

    @property
    def is_classification(self) -> bool:
        """Return whether the target holds classes."""
        return bool(self.classes)


def read_target(frame: pd.DataFrame, name: str, task: TaskChoice) -> Target:
    """Read column `name`. Rows without a value, and classes with too few rows, are omitted with a note.

    Raises DataInvalid for an unknown column, too few rows, a single class, or text where numbers are needed.
    """
    if name not in frame.columns:
        raise DataInvalid(f"no column '{name}' to predict; known: {known_names(frame)}")
    series = frame[name]
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    notes: list[str] = []
    if task != "classification":
        series = _text_as_numbers(series, notes, is_needed=task == "regression")
    is_used = series.notna().to_numpy()
    notes += [] if is_used.all() else [f"{(~is_used).sum():,} rows without '{name}' are left out"]
    present = series[is_used]
    if len(present) < MIN_ROWS:
        raise DataInvalid(f"{len(present)} rows with a value of '{name}', at least {MIN_ROWS} needed")
    if task == "auto":
        task = _guess(present, name, notes)
    if task == "classification":
        return _classes(present, name, is_used, notes)
    return _numbers(present, name, is_used, notes)


def _text_as_numbers(series: pd.Series, notes: list[str], *, is_needed: bool) -> pd.Series:
    """Return a column of text such as "1,234" or "12 %" as numbers; unchanged where it is no such text."""
    if not pd.api.types.is_string_dtype(series.dtype) or series.notna().sum() < MIN_ROWS:
        return series
    stripped = series.str.strip()
    present = stripped.dropna()
    typed = text_type(Column(str(series.name), "number"), present, max_categories=0)
    is_number = not typed.reason and typed.column.kind in ("number", "integer")
    if not is_number or (present.nunique() <= FEW_VALUES and not is_needed):
        return series
    notes.append(f"'{series.name}': {typed.note}")
    read = reader_of(typed.column)
    cells = {word: read(word) for word in present.unique()}
    return stripped.map(lambda word: cells.get(word)).astype("Float64")


def _guess(present: pd.Series, name: str, notes: list[str]) -> TaskChoice:
    if not pd.api.types.is_numeric_dtype(present.dtype) or pd.api.types.is_bool_dtype(present.dtype):
        return "classification"
    distinct = present.nunique()
    if distinct > FEW_VALUES:
        return "regression"
    notes.append(f"'{name}' holds {distinct} distinct numbers: they are read as classes (otherwise: --task regression)")
    return "classification"


def _classes(present: pd.Series, name: str, is_used: NDArray[np.bool_], notes: list[str]) -> Target:
    label_type, labels = _labels(present)
    counts = labels.value_counts()
    small = counts[counts < MIN_CLASS_ROWS]
    if len(small):
        shown = ", ".join(f"'{label}' ({count})" for label, count in list(small.items())[:10])
        notes.append(f"{len(small)} classes of fewer than {MIN_CLASS_ROWS} rows are left out: {shown}")
        usable = labels.isin(counts.index.difference(small.index)).to_numpy()
        is_used = is_used.copy()
        is_used[np.flatnonzero(is_used)[~usable]] = False
        present, labels = present[usable], labels[usable]
    ordered = (
        present.drop_duplicates().sort_values() if label_type == "number" else labels.drop_duplicates().sort_values()
    )
    classes = tuple(dict.fromkeys(labels.loc[ordered.index]))
    if len(classes) < 2:
        if label_type == "text" and (hint := _hint_of_numbers(name, small.index.to_series())):
            raise DataInvalid(hint)
        raise DataInvalid(
            f"'{name}' has {len(classes) or 'no'} class of at least {MIN_CLASS_ROWS} rows; two are needed"
        )
    if len(classes) > MAX_CLASSES:
        raise DataInvalid(f"'{name}' has {len(classes):,} classes, at most {MAX_CLASSES} are supported")
    if len(labels) < MIN_ROWS:
        raise DataInvalid(f"{len(labels)} rows of usable classes of '{name}', at least {MIN_ROWS} needed")
    numbers = labels.map({label: number for number, label in enumerate(classes)}).to_numpy(dtype=np.int64)
    return Target(name, classes, numbers, is_used, label_type, tuple(notes))


def _labels(present: pd.Series) -> tuple[str, pd.Series]:
    """Return the label type and classes as text: 3 and 3.0 are "3", booleans "true" and "false"."""
    if pd.api.types.is_bool_dtype(present.dtype):
        return "boolean", present.map({True: "true", False: "false"})
    if pd.api.types.is_numeric_dtype(present.dtype):
        return "number", present.map(lambda value: str(int(value)) if float(value).is_integer() else repr(float(value)))
    return "text", present.astype(str).str.strip()


def _numbers(present: pd.Series, name: str, is_used: NDArray[np.bool_], notes: list[str]) -> Target:
    if not pd.api.types.is_numeric_dtype(present.dtype):
        message = f"'{name}' holds text such as '{str(present.iloc[0])[:40]}'; regression needs numbers"
        raise DataInvalid(_hint_of_numbers(name, present.astype(str)) or message)
    values = present.to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataInvalid(f"column '{name}' holds infinity")
    if values.min() == values.max():
        raise DataInvalid(f"'{name}' is {values[0]:g} in all rows: nothing to predict")
    return Target(name, (), values, is_used, "number", tuple(notes))


def _hint_of_numbers(name: str, texts: pd.Series) -> str:
    """Return a hint when most of `texts` are formatted numbers such as "1.234,50" or "1,234 €", else an empty text."""
    words = texts.str.strip()
    looks = words.str.fullmatch(_ALMOST_NUMBER)
    if not looks.mean() > 0.5:
        return ""
    example = words[looks].iloc[0][:40]
    return f"'{name}' holds text, such as '{example}', and no numbers: write it as 1234.5"


def split(target: Target, *, test_share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows for training and those that are held out; every class is in both.

    Raises DataInvalid where `test_share` holds out fewer rows than there are classes.
    """
    rows = len(target.values)
    held_out = round(test_share * rows)
    classes = len(target.classes)
    if held_out < max(2, classes):
        needed = max(2, classes) / rows
        raise DataInvalid(
            f"--test-share {test_share:g} holds out {held_out} of {rows:,} rows, fewer than the {classes} classes; "
            f"use at least {np.ceil(100 * needed) / 100:g}"
        )
    stratify = target.values if target.is_classification else None
    train, test = train_test_split(np.arange(rows), test_size=held_out, random_state=seed, stratify=stratify)
    if target.is_classification:
        # Few held-out rows may have none of a rare class.
        missing = sorted(set(range(classes)) - set(target.values[test].tolist()))
        moved = np.array([train[np.flatnonzero(target.values[train] == label)[0]] for label in missing], np.int64)
        train, test = np.setdiff1d(train, moved), np.concatenate([test, moved])
    return train, test

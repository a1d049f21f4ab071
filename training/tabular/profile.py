"""The profile of a tabular model: histograms of its training table and of its answers to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.card import Column
from models.profile import CategoryProfile, NumericProfile, Profile
from models.tabular.row_encoder import MISSING, NONE_OF_THESE, RowEncoder
from training.histograms import numeric_profile

NONE_OF_THESE_LABEL = "(none of these)"


def table_profile(
    columns: Sequence[Column], rows: NDArray[np.float64], outputs: Sequence[Column], answers: NDArray[np.generic]
) -> Profile:
    """Return the profile of encoded rows (N, W) and of the answers to them (N, K), under the names of `outputs`.

    With classes, the first of `outputs` is the predicted class, which has no column in `answers`. Unknown categories
    are counted as "(none of these)". A date is counted in days since 1970; free text has no profile.
    """
    cells = {
        column: rows[:, part.start] for column, part in zip(columns, RowEncoder.for_columns(columns).parts, strict=True)
    }
    numeric = {
        c.name: numeric_profile(values) for c, values in cells.items() if c.kind in ("number", "integer", "date")
    }
    categories = {
        c.name: _boolean_profile(values) if c.kind == "boolean" else _category_profile(c, values)
        for c, values in cells.items()
        if c.kind in ("boolean", "category")
    }
    output_profiles: dict[str, NumericProfile | CategoryProfile] = {}
    numeric_outputs = list(outputs)
    if outputs[0].kind == "category":
        counts = np.bincount(answers.argmax(axis=1), minlength=len(outputs[0].categories)).tolist()
        output_profiles[outputs[0].name] = CategoryProfile(dict(zip(outputs[0].categories, counts, strict=True)))
        numeric_outputs = numeric_outputs[1:]
    for position, column in enumerate(numeric_outputs):
        limits = (0.0, 1.0) if outputs[0].kind == "category" else None
        output_profiles[column.name] = numeric_profile(answers[:, position], limits=limits)
    return Profile(rows=len(rows), numeric=numeric, categories=categories, outputs=output_profiles)


def _category_profile(column: Column, codes: NDArray[np.float64]) -> CategoryProfile:
    counts = {category: int((codes == code).sum()) for code, category in enumerate(column.categories)}
    if unknown := int((codes == NONE_OF_THESE).sum()):
        counts[NONE_OF_THESE_LABEL] = unknown
    return CategoryProfile(counts, missing=int((codes == MISSING).sum()))


def _boolean_profile(numbers: NDArray[np.float64]) -> CategoryProfile:
    counts = {"false": int((numbers == 0).sum()), "true": int((numbers == 1).sum())}
    return CategoryProfile(counts, missing=int(np.isnan(numbers).sum()))

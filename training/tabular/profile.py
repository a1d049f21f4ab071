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

    `answers` are those of `models.tabular.answers`. Unknown categories are counted as "(none of these)". A date is
    counted in days since 1970; free text has no profile.
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
    return Profile(rows=len(rows), numeric=numeric, categories=categories, outputs=_outputs(outputs, answers))


def _outputs(outputs: Sequence[Column], answers: NDArray[np.generic]) -> dict[str, NumericProfile | CategoryProfile]:
    first, *others = outputs
    if len(others) == answers.shape[1] and first.kind == "category":
        return {first.name: _likeliest(first, answers)} | {
            column.name: numeric_profile(answers[:, position], limits=(0.0, 1.0))
            for position, column in enumerate(others)
        }
    profiles: dict[str, NumericProfile | CategoryProfile] = {}
    start = 0
    # Clusters and outliers have an output that follows from the numbers.
    for column in outputs[len(outputs) - answers.shape[1] :] if len(outputs) > answers.shape[1] else outputs:
        end = start + max(1, len(column.categories))
        part = answers[:, start:end]
        profiles[column.name] = _likeliest(column, part) if column.categories else numeric_profile(part[:, 0])
        start = end
    return profiles


def _likeliest(column: Column, shares: NDArray[np.generic]) -> CategoryProfile:
    counts = np.bincount(shares.argmax(axis=1), minlength=len(column.categories)).tolist()
    return CategoryProfile(dict(zip(column.categories, counts, strict=True)))


def _category_profile(column: Column, codes: NDArray[np.float64]) -> CategoryProfile:
    counts = {category: int((codes == code).sum()) for code, category in enumerate(column.categories)}
    if unknown := int((codes == NONE_OF_THESE).sum()):
        counts[NONE_OF_THESE_LABEL] = unknown
    return CategoryProfile(counts, missing=int((codes == MISSING).sum()))


def _boolean_profile(numbers: NDArray[np.float64]) -> CategoryProfile:
    counts = {"false": int((numbers == 0).sum()), "true": int((numbers == 1).sum())}
    return CategoryProfile(counts, missing=int(np.isnan(numbers).sum()))

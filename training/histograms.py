"""The training table and the model's answers to it as histograms: what drift in production is measured against.

Knows encoded rows, no model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.card import Column
from models.profile import CategoryProfile, NumericProfile, Profile
from models.tabular.row_encoder import MISSING, NONE_OF_THESE

BINS = 20
NONE_OF_THESE_LABEL = "(none of these)"


def table_profile(
    columns: Sequence[Column], rows: NDArray[np.float32], outputs: Sequence[Column], answers: NDArray[np.generic]
) -> Profile:
    """Profile of encoded rows (N, F) and of the answers to them (N, K), under the names of `outputs`.

    With classes, `outputs` begins with the predicted one, which has no column in `answers`. Rows in which an unknown
    category was met are counted as "(none of these)".
    """
    numeric = {c.name: numeric_profile(rows[:, i]) for i, c in enumerate(columns) if c.kind in ("number", "integer")}
    categories = {
        c.name: _boolean_profile(rows[:, i]) if c.kind == "boolean" else _category_profile(c, rows[:, i])
        for i, c in enumerate(columns)
        if c.kind in ("boolean", "category")
    }
    answered: dict[str, NumericProfile | CategoryProfile] = {}
    shares = list(outputs)
    if outputs[0].kind == "category":
        counts = np.bincount(answers.argmax(axis=1), minlength=len(outputs[0].categories)).tolist()
        answered[outputs[0].name] = CategoryProfile(dict(zip(outputs[0].categories, counts, strict=True)))
        shares = shares[1:]
    for position, column in enumerate(shares):
        limits = (0.0, 1.0) if outputs[0].kind == "category" else None
        answered[column.name] = numeric_profile(answers[:, position], limits=limits)
    return Profile(rows=len(rows), numeric=numeric, categories=categories, outputs=answered)


def numeric_profile(numbers: NDArray[np.generic], *, limits: tuple[float, float] | None = None) -> NumericProfile:
    """Histogram of about BINS bins: of equal width between `limits`, else of equally many rows. NaN is missing."""
    values = numbers.astype(np.float64)
    present = values[~np.isnan(values)]
    if limits:
        edges = np.linspace(*limits, BINS + 1)
        present_inside = np.clip(present, *limits)
    else:
        edges = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)))
        if len(edges) == 1:
            edges = np.array([edges[0], np.nextafter(edges[0], np.inf)])
        present_inside = present
    counts, _ = np.histogram(present_inside, bins=edges)
    return NumericProfile(
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        missing=len(values) - len(present),
        mean=float(present.mean()),
        std=float(present.std()),
    )


def _category_profile(column: Column, codes: NDArray[np.float32]) -> CategoryProfile:
    counts = {category: int((codes == code).sum()) for code, category in enumerate(column.categories)}
    if unknown := int((codes == NONE_OF_THESE).sum()):
        counts[NONE_OF_THESE_LABEL] = unknown
    return CategoryProfile(counts, missing=int((codes == MISSING).sum()))


def _boolean_profile(numbers: NDArray[np.float32]) -> CategoryProfile:
    counts = {"false": int((numbers == 0).sum()), "true": int((numbers == 1).sum())}
    return CategoryProfile(counts, missing=int(np.isnan(numbers).sum()))

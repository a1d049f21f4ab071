"""Histograms of numbers, against which drift is measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.profile import NumericProfile

BINS = 20


def numeric_profile(numbers: NDArray[np.generic], *, limits: tuple[float, float] | None = None) -> NumericProfile:
    """Return a histogram of about BINS bins: of equal width between `limits`, else of equal counts. NaN is missing."""
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

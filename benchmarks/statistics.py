"""Percentiles, medians over rounds, ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

# Fractions, not percentages: 99.9 / 100 is above 0.999 in binary, and the rank of 1,000 values would be one too high.
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p90, p99, p99.9 and max by name: nearest rank, without interpolation.

    Raises ValueError if `values` is empty.
    """
    if not values:
        raise ValueError("percentiles need at least one value")
    results = np.quantile(np.asarray(values, np.float64), list(QUANTILES.values()), method="inverted_cdf")
    return dict(zip(QUANTILES, results.tolist(), strict=True))


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each value over the rounds that contain it."""
    names = list(dict.fromkeys(name for values in rounds for name in values))
    return {name: statistics.median(values[name] for values in rounds if name in values) for name in names}


def ratio(part: float | None, whole: float | None) -> float | None:
    """Return part / whole, or None if a value is missing or `whole` is 0."""
    return None if part is None or not whole else part / whole


def spread(values: Sequence[float]) -> float:
    """Return (largest - smallest) / median, a relative measure of the variation between rounds."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0

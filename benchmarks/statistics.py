"""The arithmetic of measurements: percentiles, medians over rounds, shares. Knows numbers only."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of the ascending values that at least `percent` of all are not above (nearest rank, no averaging).

    Raises ValueError for no values or a percentage outside of 0..100.
    """
    if not ordered or not 0 <= percent <= 100:
        raise ValueError("percentile needs at least one value, and a percentage in 0..100")
    # The tolerance keeps 99.9 % of 1,000 at rank 999: the product is 999.0000000000001 in binary.
    rank = math.ceil(percent / 100 * len(ordered) - 1e-9)
    return ordered[max(0, rank - 1)]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99, p99.9 and max of values in any order, as `{"p50": ...}`."""
    ordered = sorted(values)
    found = {percentile_name(percent): percentile(ordered, percent) for percent in PERCENTILES}
    return {**found, "max": ordered[-1]}


def percentile_name(percent: float) -> str:
    """99.9 to "p99.9"; 50.0 to "p50"."""
    return f"p{percent:g}"


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each number, its median over the rounds that have it."""
    names = list(dict.fromkeys(name for one in rounds for name in one))
    return {name: statistics.median(one[name] for one in rounds if name in one) for name in names}


def ratio(part: float | None, whole: float | None) -> float | None:
    """part / whole, or None where one of them was not measured or `whole` is 0."""
    return None if part is None or not whole else part / whole


def spread(values: Sequence[float]) -> float:
    """(largest - smallest) / median, 0 for one value: how far rounds of the same measurement lie apart."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0

"""Histograms of the training data, the reference of drift detection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NumericProfile:
    """Distribution of one numeric column.

    `edges` has one more entry than `counts`; bin i covers [edges[i], edges[i+1]); the last one includes its upper edge.
    `missing` counts the rows without a value, which are in no bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int = 0
    mean: float = 0.0
    std: float = 0.0


@dataclass(frozen=True, slots=True)
class CategoryProfile:
    """Counts of the categories of one column. `missing` counts the rows without a value."""

    counts: Mapping[str, int]
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """The training data as histograms: one per input column, and one per output (class shares, scores)."""

    rows: int
    numeric: Mapping[str, NumericProfile] = field(default_factory=dict)
    categories: Mapping[str, CategoryProfile] = field(default_factory=dict)
    outputs: Mapping[str, NumericProfile | CategoryProfile] = field(default_factory=dict)

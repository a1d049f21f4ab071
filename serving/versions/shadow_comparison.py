"""Comparison of two answers to the same request."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Comparison:
    """`share`, 0..1, is the part that is equal; `difference` is the mean absolute difference of numbers."""

    share: float | None = None
    difference: float | None = None


def compare_classes(answered: Sequence[str], shadowed: Sequence[str]) -> Comparison:
    """Return the share of rows with the same most likely class. Both hold the rows of one request, at least one."""
    equal = sum(one == other for one, other in zip(answered, shadowed, strict=True))
    return Comparison(share=equal / len(answered))


def compare_numbers(answered: Sequence[float], shadowed: Sequence[float]) -> Comparison:
    """Return the mean absolute difference."""
    differences = [abs(one - other) for one, other in zip(answered, shadowed, strict=True)]
    return Comparison(difference=sum(differences) / len(differences))


def compare_lists(answered: Sequence[Collection[str]], shadowed: Sequence[Collection[str]]) -> Comparison:
    """Return the overlap at n: the mean share of one list's items that the other has too, in any order."""
    shares = [
        len(set(one) & set(other)) / max(len(one), len(other), 1) if one or other else 1.0
        for one, other in zip(answered, shadowed, strict=True)
    ]
    return Comparison(share=sum(shares) / len(shares))

"""How far two answers to one question agree. Knows values, no models."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agreement:
    """`share` in 0..1 is how much is the same; `difference` is the mean absolute one, of numbers."""

    share: float | None = None
    difference: float | None = None


def of_classes(answered: Sequence[str], shadowed: Sequence[str]) -> Agreement:
    """The share of rows whose likeliest class is the same. The rows are those of one request, at least one."""
    same = sum(one == other for one, other in zip(answered, shadowed, strict=True))
    return Agreement(share=same / len(answered))


def of_numbers(answered: Sequence[float], shadowed: Sequence[float]) -> Agreement:
    """The mean absolute difference."""
    parts = [abs(one - other) for one, other in zip(answered, shadowed, strict=True)]
    return Agreement(difference=sum(parts) / len(parts))


def of_lists(answered: Sequence[Collection[str]], shadowed: Sequence[Collection[str]]) -> Agreement:
    """Overlap at n: the mean share of the items of one list that are in the other, whatever their order."""
    shares = [
        len(set(one) & set(other)) / max(len(one), len(other), 1) if one or other else 1.0
        for one, other in zip(answered, shadowed, strict=True)
    ]
    return Agreement(share=sum(shares) / len(shares))

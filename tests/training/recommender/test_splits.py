"""Tests of splitting interactions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DataInvalid
from models.recommender.dataset.dataset import Dataset, from_triplets
from training.recommender.splits import split


def steps(counts: list[int], *, times: bool = True) -> Dataset:
    """Return a data set in which user u has counts[u] items 0, 1, 2, ..., the last item first."""
    users = np.repeat(np.arange(len(counts)), counts)
    items = np.concatenate([np.arange(count) for count in counts])
    when = 1000 - items if times else None
    return from_triplets(users, items, shape=(len(counts), max(counts)), times=when, ratings=items.astype(np.float32))


def test_a_quarter_of_every_user_is_held_out() -> None:
    train, test = split(steps([4, 20, 1, 2, 3]), "random", test_share=0.25, seed=0)
    assert test.activity().tolist() == [1, 5, 0, 1, 1]
    assert train.activity().tolist() == [3, 15, 1, 1, 2]


def test_the_last_interactions_are_held_out_with_times_and_ratings() -> None:
    train, test = split(steps([4, 8]), "last", test_share=0.25, seed=0)
    assert test.interactions.indices.tolist() == [0, 0, 1]
    assert test.times is not None
    assert test.times.tolist() == [1000, 1000, 999]
    assert test.ratings is not None
    assert test.ratings.tolist() == [0, 0, 1]
    assert train.times is not None
    assert train.times.max() == 999


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 5))
def test_both_parts_are_disjoint_and_complete(counts: list[int], seed: int) -> None:
    whole = steps([*counts, 2])
    train, test = split(whole, "random", test_share=0.3, seed=seed)
    assert ((train.interactions + test.interactions) != whole.interactions).nnz == 0
    assert train.interactions.multiply(test.interactions).nnz == 0
    assert (train.activity() > 0).all()


def test_the_seed_decides() -> None:
    first, same, other = (split(steps([40]), "random", test_share=0.5, seed=seed)[1] for seed in (1, 1, 2))
    assert first.interactions.indices.tolist() == same.interactions.indices.tolist()
    assert first.interactions.indices.tolist() != other.interactions.indices.tolist()


def test_times_are_needed_for_the_last() -> None:
    with pytest.raises(DataInvalid, match="needs a column of times"):
        split(steps([4], times=False), "last", test_share=0.25, seed=0)


def test_an_empty_test_part_is_an_error() -> None:
    with pytest.raises(DataInvalid, match="no user has enough"):
        split(steps([1, 1]), "random", test_share=0.25, seed=0)


@pytest.mark.parametrize("share", [0, 1, -0.1, 2])
def test_a_share_outside_of_0_to_1_is_an_error(share: float) -> None:
    with pytest.raises(DataInvalid, match="between 0 and 1"):
        split(steps([4]), "random", test_share=share, seed=0)

"""Nothing that happened later may be told to a ranker."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from models.recommender.dataset import Dataset, from_triplets, where
from models.recommender.facts import FACTS, Facts

DAY_S = 86_400
USERS, ITEMS = 30, 12


def happenings(seed: int = 0) -> Dataset:
    random = np.random.default_rng(seed)
    users, items = np.nonzero(random.random((USERS, ITEMS)) < 0.6)
    return from_triplets(
        users,
        items,
        shape=(USERS, ITEMS),
        times=random.integers(0, 200 * DAY_S, len(users)),
        ratings=random.integers(1, 6, len(users)).astype(np.float32),
        user_features=sparse.csr_array(np.eye(3, dtype=np.float32)[np.arange(USERS) % 3]),
        item_features=sparse.csr_array(np.eye(4, dtype=np.float32)[np.arange(ITEMS) % 4]),
    )


def told(facts: Facts, dataset: Dataset, user: int, as_of: int) -> dict[str, list[float]]:
    row = np.array([user])
    pairs = (np.zeros(dataset.items, np.int64), np.arange(dataset.items))
    found = facts.of(dataset.histories(row), np.array([as_of]), pairs, row)
    return {name: found[:, place].tolist() for place, name in enumerate(FACTS)}


@pytest.mark.parametrize("user", [0, 7, 29])
def test_facts_are_the_same_with_and_without_what_comes_later(user: int) -> None:
    everything = happenings()
    assert everything.times is not None
    as_of = 100 * DAY_S
    until_then = where(everything, everything.times <= as_of)
    assert told(Facts(everything), until_then, user, as_of) == told(Facts(until_then), until_then, user, as_of)


def test_each_fact_is_what_it_says() -> None:
    times = np.array([10, 35, 50, 60]) * DAY_S
    users, items = np.array([0, 1, 2, 3]), np.array([1, 1, 1, 0])
    ratings = np.array([5, 3, 1, 4], np.float32)
    dataset = from_triplets(
        users,
        items,
        shape=(4, 3),
        times=times,
        ratings=ratings,
        user_features=sparse.csr_array(np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)),
        item_features=sparse.csr_array(np.array([[1, 0], [1, 0], [0, 1]], np.float32)),
    )
    facts = Facts(dataset)
    found = told(facts, dataset, 0, 40 * DAY_S)
    assert np.expm1(found["popularity"]).round(3).tolist() == [0, 2, 0]
    assert np.expm1(found["popularity_7d"]).round(3).tolist() == [0, 1, 0]
    assert np.expm1(found["newness"]).round().tolist() == [10_000, 30, 10_000]
    assert np.expm1(found["recency"]).round().tolist() == [10_000, 5, 10_000]
    assert found["rating"] == pytest.approx([4, 4, 4])  # 5 and 3 so far, on the whole and of item 1
    assert found["affinity"] == pytest.approx([1, 1, 0])
    assert np.expm1(found["activity"]).round(3).tolist() == [1, 1, 1]
    later = told(facts, dataset, 0, 100 * DAY_S)
    assert later["segment"][1] > 0 > later["segment"][0]
    assert facts.last_times(np.array([0, 3])).tolist() == [10 * DAY_S, 60 * DAY_S]


def test_without_times_ratings_and_attributes_there_are_numbers_all_the_same() -> None:
    dataset = from_triplets(np.array([0, 1]), np.array([0, 1]), shape=(3, 3))
    facts = Facts(dataset)
    pairs = (np.array([0, 0, 1]), np.array([1, 2, 0]))
    found = facts.of(dataset.histories(np.array([0, 2])), np.zeros(2, np.int64), pairs, None)
    assert np.isfinite(found).all()
    assert found[:, FACTS.index("affinity")].tolist() == [0, 0, 0]

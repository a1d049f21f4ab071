"""Nothing that happened later may be told to a ranker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from models.recommender.dataset.dataset import Dataset, from_triplets, where
from models.recommender.dataset.temporal_features import TemporalFeatures
from models.recommender.ranking.features import FACTS, RankingFeatures

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


def dated(dataset: Dataset, seed: int = 1) -> Dataset:
    """The same, with users and items that change their attributes a few times, and have none before the first."""
    random = np.random.default_rng(seed)

    def changes(owners: int, width: int) -> TemporalFeatures:
        who = np.repeat(np.arange(owners), 4)
        kinds = np.eye(width, dtype=np.float32)[random.integers(0, width, len(who))]
        return TemporalFeatures(who, random.integers(0, 200 * DAY_S, len(who)), sparse.csr_array(kinds))

    assert dataset.times is not None
    changing = replace(dataset, dated_users=changes(USERS, 3), dated_items=changes(ITEMS, 4))
    return where(changing, np.ones(len(dataset.times), bool))


def without_later_rows(dataset: Dataset, as_of: int) -> Dataset:
    """The same, with attributes as if nobody had written one since."""

    def cut(dated: TemporalFeatures) -> TemporalFeatures:
        owners, since = (np.asarray(dated.arrays()[name], np.int64) for name in ("owners", "since"))
        kept = np.flatnonzero(since <= as_of)
        return TemporalFeatures(owners[kept], since[kept], dated.features[kept])

    if dataset.dated_users is None or dataset.dated_items is None:
        return dataset
    return replace(dataset, dated_users=cut(dataset.dated_users), dated_items=cut(dataset.dated_items))


def told(facts: RankingFeatures, dataset: Dataset, user: int, as_of: int) -> dict[str, list[float]]:
    row = np.array([user])
    pairs = (np.zeros(dataset.items, np.int64), np.arange(dataset.items))
    found = facts.of(dataset.histories(row), np.array([as_of]), pairs, row)
    return {name: found[:, place].tolist() for place, name in enumerate(FACTS)}


@pytest.mark.parametrize("user", [0, 7, 29])
@pytest.mark.parametrize("is_dated", [False, True])
def test_facts_are_the_same_with_and_without_what_comes_later(user: int, is_dated: bool) -> None:
    everything = dated(happenings()) if is_dated else happenings()
    assert everything.times is not None
    as_of = 100 * DAY_S
    until_then = where(without_later_rows(everything, as_of), everything.times <= as_of)
    assert told(RankingFeatures(everything), until_then, user, as_of) == told(
        RankingFeatures(until_then), until_then, user, as_of
    )


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
    facts = RankingFeatures(dataset)
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


def test_attributes_are_those_of_the_moment() -> None:
    random = np.random.default_rng(2)
    moments = random.integers(0, 220 * DAY_S, 20)
    changing = dated(happenings())
    assert changing.dated_items is not None
    facts = RankingFeatures(changing)
    for user, moment in enumerate(moments.tolist()):
        items = changing.dated_items.at(np.full(ITEMS, moment)).toarray()
        lengths = np.linalg.norm(items, axis=1)
        directions = np.divide(items, lengths[:, None], out=np.zeros_like(items), where=lengths[:, None] > 0)
        profile = directions[changing.histories(np.array([user])).indices].sum(axis=0)
        expected = directions @ profile / max(np.linalg.norm(profile), 1e-12)
        assert told(facts, changing, user, moment)["affinity"] == pytest.approx(expected, abs=1e-5)


def test_people_of_a_kind_are_those_who_were_of_it_then() -> None:
    # User 0 is of kind 0 when taking to item 0, and of kind 1 when taking to item 1, as user 1 is then.
    dataset = from_triplets(
        np.array([0, 0, 1, 2]),
        np.array([0, 1, 2, 2]),
        shape=(3, 3),
        times=np.array([1, 5, 6, 6]) * DAY_S,
        dated_users=TemporalFeatures(
            np.array([0, 0, 1]), np.array([0, 3, 0]) * DAY_S, sparse.csr_array(np.eye(2, dtype=np.float32)[[0, 1, 1]])
        ),
    )
    facts = RankingFeatures(dataset)
    as_kind_1 = told(facts, dataset, 1, 6 * DAY_S)["segment"]
    assert as_kind_1[1] > 0 > as_kind_1[0]
    earlier = told(facts, dataset, 0, 2 * DAY_S)["segment"]
    assert earlier[0] > 0 > earlier[1]
    assert told(facts, dataset, 2, 6 * DAY_S)["segment"] == [0, 0, 0]


def test_without_times_ratings_and_attributes_there_are_numbers_all_the_same() -> None:
    dataset = from_triplets(np.array([0, 1]), np.array([0, 1]), shape=(3, 3))
    facts = RankingFeatures(dataset)
    pairs = (np.array([0, 0, 1]), np.array([1, 2, 0]))
    found = facts.of(dataset.histories(np.array([0, 2])), np.zeros(2, np.int64), pairs, None)
    assert np.isfinite(found).all()
    assert found[:, FACTS.index("affinity")].tolist() == [0, 0, 0]

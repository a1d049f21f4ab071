"""Ranking features contain no later information."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from models.recommender.dataset.dataset import Dataset, filter_interactions, from_triplets
from models.recommender.dataset.temporal_features import TemporalFeatures
from models.recommender.ranking.features import FEATURE_NAMES, RankingFeatures

DAY_S = 86_400
USERS, ITEMS = 30, 12


def interactions_of(seed: int = 0) -> Dataset:
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
    """Return the data set with attributes that change several times and are empty before the first row."""
    random = np.random.default_rng(seed)

    def changes(owners: int, width: int) -> TemporalFeatures:
        owner_rows = np.repeat(np.arange(owners), 4)
        kinds = np.eye(width, dtype=np.float32)[random.integers(0, width, len(owner_rows))]
        return TemporalFeatures(owner_rows, random.integers(0, 200 * DAY_S, len(owner_rows)), sparse.csr_array(kinds))

    assert dataset.times is not None
    changing = replace(dataset, dated_users=changes(USERS, 3), dated_items=changes(ITEMS, 4))
    return filter_interactions(changing, np.ones(len(dataset.times), bool))


def without_later_rows(dataset: Dataset, as_of: int) -> Dataset:
    """Return the data set without rows of attributes after `as_of`."""

    def cut(dated: TemporalFeatures) -> TemporalFeatures:
        owners, since = (np.asarray(dated.arrays()[name], np.int64) for name in ("owners", "since"))
        earlier = np.flatnonzero(since <= as_of)
        return TemporalFeatures(owners[earlier], since[earlier], dated.features[earlier])

    if dataset.dated_users is None or dataset.dated_items is None:
        return dataset
    return replace(dataset, dated_users=cut(dataset.dated_users), dated_items=cut(dataset.dated_items))


def features_of(ranking_features: RankingFeatures, dataset: Dataset, user: int, as_of: int) -> dict[str, list[float]]:
    row = np.array([user])
    pairs = (np.zeros(dataset.items, np.int64), np.arange(dataset.items))
    values = ranking_features.compute(dataset.histories(row), np.array([as_of]), pairs, row)
    return {name: values[:, column].tolist() for column, name in enumerate(FEATURE_NAMES)}


@pytest.mark.parametrize("user", [0, 7, 29])
@pytest.mark.parametrize("is_dated", [False, True])
def test_features_are_independent_of_later_data(user: int, is_dated: bool) -> None:
    everything = dated(interactions_of()) if is_dated else interactions_of()
    assert everything.times is not None
    as_of = 100 * DAY_S
    earlier_data = filter_interactions(without_later_rows(everything, as_of), everything.times <= as_of)
    assert features_of(RankingFeatures(everything), earlier_data, user, as_of) == features_of(
        RankingFeatures(earlier_data), earlier_data, user, as_of
    )


def test_each_feature_has_its_defined_value() -> None:
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
    ranking_features = RankingFeatures(dataset)
    values = features_of(ranking_features, dataset, 0, 40 * DAY_S)
    assert np.expm1(values["popularity"]).round(3).tolist() == [0, 2, 0]
    assert np.expm1(values["popularity_7d"]).round(3).tolist() == [0, 1, 0]
    assert np.expm1(values["newness"]).round().tolist() == [10_000, 30, 10_000]
    assert np.expm1(values["recency"]).round().tolist() == [10_000, 5, 10_000]
    assert values["rating"] == pytest.approx([4, 4, 4])  # the ratings 5 and 3 until then
    assert values["affinity"] == pytest.approx([1, 1, 0])
    assert np.expm1(values["activity"]).round(3).tolist() == [1, 1, 1]
    later = features_of(ranking_features, dataset, 0, 100 * DAY_S)
    assert later["segment"][1] > 0 > later["segment"][0]
    assert ranking_features.last_times(np.array([0, 3])).tolist() == [10 * DAY_S, 60 * DAY_S]


def test_attributes_are_those_of_the_moment() -> None:
    random = np.random.default_rng(2)
    moments = random.integers(0, 220 * DAY_S, 20)
    changing = dated(interactions_of())
    assert changing.dated_items is not None
    ranking_features = RankingFeatures(changing)
    for user, moment in enumerate(moments.tolist()):
        items = changing.dated_items.at(np.full(ITEMS, moment)).toarray()
        lengths = np.linalg.norm(items, axis=1)
        directions = np.divide(items, lengths[:, None], out=np.zeros_like(items), where=lengths[:, None] > 0)
        profile = directions[changing.histories(np.array([user])).indices].sum(axis=0)
        expected = directions @ profile / max(np.linalg.norm(profile), 1e-12)
        assert features_of(ranking_features, changing, user, moment)["affinity"] == pytest.approx(expected, abs=1e-5)


def test_segments_use_the_attributes_at_the_time_of_the_event() -> None:
    # User 0 has attribute 0 at the time of item 0, and attribute 1 at the time of item 1, as has user 1.
    dataset = from_triplets(
        np.array([0, 0, 1, 2]),
        np.array([0, 1, 2, 2]),
        shape=(3, 3),
        times=np.array([1, 5, 6, 6]) * DAY_S,
        dated_users=TemporalFeatures(
            np.array([0, 0, 1]), np.array([0, 3, 0]) * DAY_S, sparse.csr_array(np.eye(2, dtype=np.float32)[[0, 1, 1]])
        ),
    )
    ranking_features = RankingFeatures(dataset)
    as_kind_1 = features_of(ranking_features, dataset, 1, 6 * DAY_S)["segment"]
    assert as_kind_1[1] > 0 > as_kind_1[0]
    earlier = features_of(ranking_features, dataset, 0, 2 * DAY_S)["segment"]
    assert earlier[0] > 0 > earlier[1]
    assert features_of(ranking_features, dataset, 2, 6 * DAY_S)["segment"] == [0, 0, 0]


def test_without_times_ratings_and_attributes_features_are_finite() -> None:
    dataset = from_triplets(np.array([0, 1]), np.array([0, 1]), shape=(3, 3))
    ranking_features = RankingFeatures(dataset)
    pairs = (np.array([0, 0, 1]), np.array([1, 2, 0]))
    values = ranking_features.compute(dataset.histories(np.array([0, 2])), np.zeros(2, np.int64), pairs, None)
    assert np.isfinite(values).all()
    assert values[:, FEATURE_NAMES.index("affinity")].tolist() == [0, 0, 0]

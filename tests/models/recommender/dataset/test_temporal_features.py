"""Features at a moment are those of the latest row that is not after it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from models.recommender.dataset.dataset import Dataset, filter_interactions, from_triplets
from models.recommender.dataset.temporal_features import ALWAYS, TemporalFeatures

MOMENTS = st.one_of(st.integers(-20, 20), st.just(ALWAYS), st.just(2**62))


def single(*columns: int) -> sparse.csr_array:
    """Return rows with one feature each, in these columns."""
    return sparse.csr_array(np.eye(max(columns) + 1, dtype=np.float32)[list(columns)])


@given(st.lists(st.tuples(st.integers(0, 4), MOMENTS), min_size=1, max_size=30), st.integers(0, 5), MOMENTS)
def test_the_row_of_a_moment_is_the_latest_that_is_not_after_it(
    rows: list[tuple[int, int]], owner: int, moment: int
) -> None:
    owners, since = (np.array(each, np.int64) for each in zip(*rows, strict=True))
    dated = TemporalFeatures(owners, since, single(*range(len(rows))))
    features_then = dated.features[dated.rows(np.array([owner]), np.array([moment]))]
    until = [(time, index) for index, (user, time) in enumerate(rows) if user == owner and time <= moment]
    assert features_then.indices.tolist() == ([max(until)[1]] if until else [])


def test_restored_features_are_equal() -> None:
    dated = TemporalFeatures(np.array([1, 0, 1]), np.array([5, 2, 3]), single(0, 1, 2))
    restored = TemporalFeatures.restore(dated.arrays())
    owners, moments = np.repeat(np.arange(3), 9), np.tile(np.arange(9), 3)
    assert restored.rows(owners, moments).tolist() == dated.rows(owners, moments).tolist()
    assert (restored.features != dated.features).nnz == 0


def changing() -> Dataset:
    """Return two users and two items; user 0 changes from feature 0 to 1 at 15, item 1 to feature 2 at 25."""
    return from_triplets(
        np.array([0, 0, 1, 1]),
        np.array([0, 1, 0, 1]),
        shape=(2, 2),
        times=np.array([10, 20, 12, 30]),
        dated_users=TemporalFeatures(np.array([0, 0]), np.array([0, 15]), single(0, 1)),
        dated_items=TemporalFeatures(np.array([0, 1, 1]), np.array([0, 0, 25]), single(0, 1, 2)),
    )


def test_users_are_as_of_their_last_interaction_and_items_as_of_the_last_of_all() -> None:
    dataset = changing()
    assert dataset.user_features is not None
    assert dataset.item_features is not None
    assert dataset.user_features.toarray().tolist() == [[0, 1], [0, 0]]
    assert dataset.item_features.toarray().tolist() == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(("until", "kind_of_user", "kind_of_item"), [(12, [1, 0], [0, 1, 0]), (20, [0, 1], [0, 1, 0])])
def test_filtered_data_has_the_features_of_its_time(
    until: int, kind_of_user: list[int], kind_of_item: list[int]
) -> None:
    dataset = changing()
    assert dataset.times is not None
    part = filter_interactions(dataset, dataset.times <= until)
    assert part.user_features is not None
    assert part.item_features is not None
    assert part.user_features.toarray()[0].tolist() == kind_of_user
    assert part.item_features.toarray()[1].tolist() == kind_of_item

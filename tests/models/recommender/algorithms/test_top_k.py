from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.recommender.algorithms.top_k import PADDING, select_top_k


def test_the_order_is_by_score_and_then_by_column() -> None:
    items, scores = select_top_k(np.array([[1, 3, 3, 2, 3]], np.float32), 3)
    assert items.tolist() == [[1, 2, 4]]
    assert scores.tolist() == [[3, 3, 3]]


def test_of_ties_at_the_border_the_lowest_columns_are_selected() -> None:
    items, _ = select_top_k(np.zeros((1, 1000), np.float32), 4)
    assert items.tolist() == [[0, 1, 2, 3]]


def test_infinite_and_nan_scores_are_not_selected() -> None:
    items, scores = select_top_k(np.array([[-np.inf, 5, np.nan]], np.float32), 3)
    assert items.tolist() == [[1, PADDING, PADDING]]
    assert np.isneginf(scores[0, 1:]).all()


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.integers(1, 40))
def test_it_equals_a_stable_sort(row: list[int], n: int) -> None:
    expected = sorted(range(len(row)), key=lambda column: (-row[column], column))[:n]
    assert select_top_k(np.array([row], np.float32), n)[0][0].tolist() == expected


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 5, 1000]), st.integers(1, 20))
def test_wide_rows_equal_a_stable_sort(seed: int, levels: int, n: int) -> None:
    row = np.random.default_rng(seed).integers(0, levels, 12_000).astype(np.float32)
    row[: min(levels, 3)] = -np.inf
    expected = np.lexsort((np.arange(len(row)), -row))[:n]
    assert select_top_k(row[None, :], n)[0][0].tolist() == expected.tolist()

"""Tests of ranking metrics, against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from training.recommender import ranking_metrics


def relevant(*rows: list[int], items: int = 20) -> sparse.csr_array:
    matrix = np.zeros((len(rows), items), np.float32)
    for row, columns in enumerate(rows):
        matrix[row, columns] = 1
    return sparse.csr_array(matrix)


def test_hits_at_the_first_and_third_of_ten_places() -> None:
    recommended = np.array([[4, 9, 7, 0, 1, 2, 3, 5, 6, 8]])
    metrics = ranking_metrics.per_user(recommended, relevant([4, 7, 15]))
    assert metrics["p@10"][0] == pytest.approx(2 / 10)
    assert metrics["r@10"][0] == pytest.approx(2 / 3)
    gain, ideal = 1 + 1 / math.log2(4), 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert metrics["ndcg@10"][0] == pytest.approx(gain / ideal)
    assert metrics["map@10"][0] == pytest.approx((1 / 1 + 2 / 3) / 3)


def test_average_precision_divides_by_all_relevant_items_even_more_than_ten() -> None:
    recommended = np.array([list(range(10))])
    metrics = ranking_metrics.per_user(recommended, relevant(list(range(20))))
    assert metrics["map@10"][0] == pytest.approx(10 / 20)
    assert metrics["r@10"][0] == pytest.approx(10 / 20)
    assert metrics["p@10"][0] == metrics["ndcg@10"][0] == pytest.approx(1)


def test_fewer_than_ten_recommendations_still_divide_by_ten() -> None:
    metrics = ranking_metrics.per_user(np.array([[3, -1]]), relevant([3]))
    assert metrics["p@10"][0] == pytest.approx(1 / 10)
    assert metrics["ndcg@10"][0] == pytest.approx(1)


def test_users_without_relevant_items_are_in_no_mean() -> None:
    metrics = ranking_metrics.per_user(np.array([[3], [4]]), relevant([3], []))
    assert ranking_metrics.means(metrics)["r@10"] == pytest.approx(1)
    assert ranking_metrics.means(metrics, np.array([False, True])) == {}


def test_a_place_that_is_empty_is_no_hit() -> None:
    # -1 in row 1 must not be read as the last item of row 0.
    assert not ranking_metrics.hits(np.array([[0], [-1]]), relevant([19], [2])).any()


def test_coverage_is_the_share_of_items_shown() -> None:
    assert ranking_metrics.coverage(np.array([[0, 1, -1], [1, 2, -1]]), 6) == pytest.approx(0.5)


def test_diversity_is_how_unlike_the_pairs_of_a_list_are() -> None:
    directions = sparse.csr_array(np.array([[1, 0], [1, 0], [0, 1], [0.6, 0.8]]))
    assert ranking_metrics.diversity(np.array([[0, 1, 2]]), directions) == pytest.approx(1 - 1 / 3)
    assert ranking_metrics.diversity(np.array([[0, 3, -1], [2, -1, -1]]), directions) == pytest.approx(1 - 0.6)


def test_novelty_is_bits_of_surprise() -> None:
    popularity = np.array([8, 2, 0])
    assert ranking_metrics.novelty(np.array([[0, 1]]), popularity, 8) == pytest.approx((0 + 2) / 2)
    assert ranking_metrics.novelty(np.array([[2, -1]]), popularity, 8) == pytest.approx(3)
    assert ranking_metrics.novelty(np.array([[-1]]), popularity, 8) == 0

from __future__ import annotations

import numpy as np
import pytest

from models.recommender.algorithms import top_k_products
from models.recommender.algorithms.top_k import PADDING, select_top_k
from models.recommender.algorithms.top_k_products import BLOCK_ITEMS, MAX_VECTORS, ExcludedItems, product_top_k

WIDTH = 8


def factors_of(items: int, users: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors of small integers, for which float32 sums are exact."""
    random = np.random.default_rng(items + users)
    vectors = random.integers(-3, 4, (users, WIDTH)).astype(np.float32)
    factors = random.integers(-3, 4, (items, WIDTH)).astype(np.float32)
    biases = random.integers(-3, 4, items).astype(np.float32)
    if kind == "rising":  # every block has higher scores than all earlier ones
        factors[:] = 0
        biases = np.arange(items, dtype=np.float32)
    if kind == "equal":
        factors[:] = 0
        biases[:] = 1
    return vectors, factors, biases


@pytest.mark.parametrize("kind", ["plain", "rising", "equal"])
@pytest.mark.parametrize("items", [1, 7, BLOCK_ITEMS, BLOCK_ITEMS + 1, 3 * BLOCK_ITEMS + 5])
@pytest.mark.parametrize("n", [1, 10, 100])
def test_it_equals_the_full_product(items: int, n: int, kind: str) -> None:
    vectors, factors, biases = factors_of(items, MAX_VECTORS + 3, kind)
    random = np.random.default_rng(0)
    excluded = [random.integers(0, items, random.integers(0, 9)) for _ in vectors]
    scores = vectors @ factors.T + biases
    for row, columns in zip(scores, excluded, strict=True):
        row[columns] = -np.inf
    expected_items, expected_scores = select_top_k(scores, n)
    top, found_scores = product_top_k(vectors, factors, biases, n, excluded=ExcludedItems(excluded))
    np.testing.assert_array_equal(top, expected_items)
    np.testing.assert_array_equal(found_scores, expected_scores)


@pytest.mark.parametrize("kind", ["plain", "rising", "equal"])
@pytest.mark.parametrize("cores", [2, 3, 8])
def test_parallel_search_gives_the_same_result(cores: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_k_products, "_MIN_BLOCKS", 1)
    vectors, factors, biases = factors_of(5 * BLOCK_ITEMS + 3, MAX_VECTORS + 3, kind)
    excluded = ExcludedItems([np.arange(row, 3 * BLOCK_ITEMS, 7) for row in range(len(vectors))])
    top = {}
    for number in (1, cores):
        monkeypatch.setattr(top_k_products, "_cores", lambda number=number: number)
        top[number] = product_top_k(vectors, factors, biases, 20, excluded=excluded)
    for one, shared in zip(top[1], top[cores], strict=True):
        np.testing.assert_array_equal(one, shared)


def test_scales_multiply_the_product_and_not_the_bias() -> None:
    vectors, factors, biases = factors_of(50, 3, "plain")
    scales = np.linspace(0.5, 2, 50).astype(np.float32)
    expected = select_top_k((vectors @ factors.T) * scales + biases, 5)
    top = product_top_k(vectors, factors, biases, 5, scales=scales)
    np.testing.assert_array_equal(top[0], expected[0])
    np.testing.assert_allclose(top[1], expected[1])


def test_nan_is_not_selected() -> None:
    vectors, factors, biases = factors_of(20_000, 2, "plain")
    factors[::2] = np.nan
    top, _ = product_top_k(vectors, factors, biases, 50)
    assert (top % 2 == 1).all()


def test_without_vectors_or_items_the_result_is_empty() -> None:
    vectors, factors, biases = factors_of(5, 2, "plain")
    assert product_top_k(vectors[:0], factors, biases, 3)[0].shape == (0, 3)
    assert product_top_k(vectors, factors[:0], biases[:0], 3)[0].shape == (2, 0)


def test_rows_with_too_few_items_are_padded() -> None:
    vectors, factors, biases = factors_of(4, 1, "plain")
    top, scores = product_top_k(vectors, factors, biases, 4, excluded=ExcludedItems([np.array([0, 1, 1])]))
    assert set(top[0, :2]) == {2, 3}
    assert top[0, 2:].tolist() == [PADDING, PADDING]
    assert np.isneginf(scores[0, 2:]).all()

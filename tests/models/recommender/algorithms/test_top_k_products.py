from __future__ import annotations

import numpy as np
import pytest

from models.recommender.algorithms import top_k_products
from models.recommender.algorithms.top_k import NOTHING, best
from models.recommender.algorithms.top_k_products import BLOCK_ITEMS, MAX_VECTORS, Hidden, best_products

WIDTH = 8


def board(items: int, users: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Small whole numbers, so that float32 sums are exact and equal scores are equal."""
    random = np.random.default_rng(items + users)
    vectors = random.integers(-3, 4, (users, WIDTH)).astype(np.float32)
    factors = random.integers(-3, 4, (items, WIDTH)).astype(np.float32)
    biases = random.integers(-3, 4, items).astype(np.float32)
    if kind == "rising":  # every block is better than all before it
        factors[:] = 0
        biases = np.arange(items, dtype=np.float32)
    if kind == "equal":
        factors[:] = 0
        biases[:] = 1
    return vectors, factors, biases


@pytest.mark.parametrize("kind", ["plain", "rising", "equal"])
@pytest.mark.parametrize("items", [1, 7, BLOCK_ITEMS, BLOCK_ITEMS + 1, 3 * BLOCK_ITEMS + 5])
@pytest.mark.parametrize("n", [1, 10, 100])
def test_it_finds_what_the_whole_product_holds(items: int, n: int, kind: str) -> None:
    vectors, factors, biases = board(items, MAX_VECTORS + 3, kind)
    random = np.random.default_rng(0)
    hidden = [random.integers(0, items, random.integers(0, 9)) for _ in vectors]
    scores = vectors @ factors.T + biases
    for row, columns in zip(scores, hidden, strict=True):
        row[columns] = -np.inf
    expected_items, expected_scores = best(scores, n)
    found, marks = best_products(vectors, factors, biases, n, hidden=Hidden(hidden))
    np.testing.assert_array_equal(found, expected_items)
    np.testing.assert_array_equal(marks, expected_scores)


@pytest.mark.parametrize("kind", ["plain", "rising", "equal"])
@pytest.mark.parametrize("cores", [2, 3, 8])
def test_cores_that_share_the_items_find_the_same(cores: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_k_products, "_LEAST_BLOCKS", 1)
    vectors, factors, biases = board(5 * BLOCK_ITEMS + 3, MAX_VECTORS + 3, kind)
    hidden = Hidden([np.arange(row, 3 * BLOCK_ITEMS, 7) for row in range(len(vectors))])
    found = {}
    for number in (1, cores):
        monkeypatch.setattr(top_k_products, "_cores", lambda number=number: number)
        found[number] = best_products(vectors, factors, biases, 20, hidden=hidden)
    for one, shared in zip(found[1], found[cores], strict=True):
        np.testing.assert_array_equal(one, shared)


def test_scales_multiply_the_product_and_not_the_bias() -> None:
    vectors, factors, biases = board(50, 3, "plain")
    scales = np.linspace(0.5, 2, 50).astype(np.float32)
    expected = best((vectors @ factors.T) * scales + biases, 5)
    found = best_products(vectors, factors, biases, 5, scales=scales)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1])


def test_what_is_nan_is_never_chosen() -> None:
    vectors, factors, biases = board(20_000, 2, "plain")
    factors[::2] = np.nan
    found, _ = best_products(vectors, factors, biases, 50)
    assert (found % 2 == 1).all()


def test_without_vectors_or_items_there_is_nothing() -> None:
    vectors, factors, biases = board(5, 2, "plain")
    assert best_products(vectors[:0], factors, biases, 3)[0].shape == (0, 3)
    assert best_products(vectors, factors[:0], biases[:0], 3)[0].shape == (2, 0)


def test_rows_with_too_few_items_are_filled_up() -> None:
    vectors, factors, biases = board(4, 1, "plain")
    found, scores = best_products(vectors, factors, biases, 4, hidden=Hidden([np.array([0, 1, 1])]))
    assert set(found[0, :2]) == {2, 3}
    assert found[0, 2:].tolist() == [NOTHING, NOTHING]
    assert np.isneginf(scores[0, 2:]).all()

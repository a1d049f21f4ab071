from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from models.errors import ArtifactInvalid
from models.recommender import archive
from models.recommender.algorithms.ann_index import ApproximateIndex
from models.recommender.algorithms.factors import Factors
from models.recommender.algorithms.top_k_products import ExcludedItems, product_top_k
from models.recommender.online.messages import ItemFilter, Rules
from models.recommender.online.predictor import Query, Recommender
from models.recommender.registry import ALGORITHMS
from tests.models.recommender import film_library

USERS, ITEMS, WIDTH = 200, 6_000, 16


def clusters() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return item vectors, item biases and user vectors in twenty clusters."""
    random = np.random.default_rng(3)
    centres = random.normal(size=(20, WIDTH))
    items = centres[random.integers(0, 20, ITEMS)] + random.normal(scale=0.4, size=(ITEMS, WIDTH))
    users = centres[random.integers(0, 20, USERS)] + random.normal(scale=0.4, size=(USERS, WIDTH))
    return items.astype(np.float32), random.normal(scale=0.3, size=ITEMS).astype(np.float32), users.astype(np.float32)


def model() -> tuple[Factors, np.ndarray]:  # type: ignore[type-arg]  # any hyperparameters
    items, biases, users = clusters()
    algorithm = ALGORITHMS.create("als")
    assert isinstance(algorithm, Factors)
    algorithm.item_factors_, algorithm.item_biases_, algorithm.user_factors_ = items, biases, users
    algorithm.index_ = ApproximateIndex.build(items, biases, users)
    assert algorithm.index_ is not None
    return algorithm, users


@pytest.mark.slow
def test_its_recall_is_the_measured_one() -> None:
    algorithm, users = model()
    index = algorithm.index_
    assert index is not None
    assert index.settings.recall >= 0.99
    exact_items, scores = product_top_k(users, algorithm.item_factors_, algorithm.item_biases_, 10)
    nearest, nearest_scores = index.find(users, 10)
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(nearest.tolist(), exact_items.tolist(), strict=True)])
    assert shared == pytest.approx(index.settings.recall)
    np.testing.assert_allclose(nearest_scores[:, 0], scores[:, 0], rtol=1e-4)


def test_excluded_items_are_replaced_by_others() -> None:
    algorithm, users = model()
    exact_items, _ = product_top_k(users, algorithm.item_factors_, algorithm.item_biases_, 30)
    excluded = ExcludedItems([row[:20] for row in exact_items])
    nearest, scores = algorithm.top_items(users, 10, excluded=excluded)
    expected, _ = product_top_k(users, algorithm.item_factors_, algorithm.item_biases_, 10, excluded=excluded)
    assert not any(set(row[:20]) & set(own) for row, own in zip(exact_items.tolist(), nearest.tolist(), strict=True))
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(nearest, expected, strict=True)]) > 0.97
    assert (np.diff(scores, axis=1) <= 0).all()
    assert (nearest >= 0).all()


def test_incomplete_results_are_replaced_by_exact_search() -> None:
    algorithm, users = model()
    all_but_few = ExcludedItems([np.arange(ITEMS - 5)] * 2)
    nearest, _ = algorithm.top_items(users[:2], 10, excluded=all_but_few)
    assert [sorted(row[:5].tolist()) for row in nearest] == [list(range(ITEMS - 5, ITEMS))] * 2
    # One list with fewer items than requested.
    assert algorithm.index_ is not None
    algorithm.index_.settings = dataclasses.replace(algorithm.index_.settings, probes=1)
    nearest, _ = algorithm.top_items(users[:3], 600)
    exact, _ = product_top_k(users[:3], algorithm.item_factors_, algorithm.item_biases_, 600)
    np.testing.assert_array_equal(nearest, exact)


def test_random_vectors_without_any_order_get_no_index() -> None:
    random = np.random.default_rng(0)
    items = random.normal(size=(3_000, 64)).astype(np.float32)
    assert ApproximateIndex.build(items, np.zeros(3_000, np.float32), items[:200]) is None


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Write an artifact of a factor model with an index."""
    contents = film_library.contents()
    als = ALGORITHMS.create("als", {"factors": 8, "epochs": 3}).fit(contents.dataset)
    assert isinstance(als, Factors)
    als.index_ = ApproximateIndex.build(als.item_factors_, als.item_biases_, als.user_factors_, recall=0.1)
    assert als.index_ is not None
    folder = tmp_path / "library" / "v1"
    folder.mkdir(parents=True)
    algorithms = {"als": als, "popular": contents.algorithms["popular"]}
    archive.write(dataclasses.replace(contents, algorithms=algorithms, default="als"), folder)
    return folder


def test_an_index_is_saved_and_opened_again(saved: Path) -> None:
    opened = archive.read(saved).algorithms["als"]
    assert isinstance(opened, Factors)
    assert opened.index_ is not None
    assert json.loads((saved / "recommender.json").read_text())["indexes"]["als"]["recall"] >= 0.1
    nearest, _ = opened.index_.find(opened.user_factors_[:4], 3)
    assert nearest.shape == (4, 3)


def test_without_faiss_the_artifact_uses_exact_search(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> ApproximateIndex:
        raise ImportError("no faiss")

    monkeypatch.setattr(ApproximateIndex, "open", missing)
    opened = archive.read(saved).algorithms["als"]
    assert isinstance(opened, Factors)
    assert opened.index_ is None
    assert opened.recommend(np.arange(3), 5)[0].shape == (3, 5)


def test_an_invalid_index_is_refused(saved: Path) -> None:
    (saved / "models" / "als" / archive.INDEX_FILE).write_bytes(b"not an index")
    with pytest.raises(ArtifactInvalid, match="is not an index"):
        archive.read(saved)


def test_rules_apply_with_an_index(saved: Path) -> None:
    recommender = Recommender(film_library.dispatcher().artifact, archive.read(saved))
    allowed = [str(number) for number in range(1, 20)]
    rules = Rules(allow=ItemFilter(ids=tuple(allowed)), deny=ItemFilter(ids=("5",)))
    shown = {item.id for item in recommender.recommend([Query("alice", n=30, rules=rules)])[0].items}
    own = {str(item + 1) for item in film_library.seen(0)}
    assert shown == set(allowed) - {"5"} - own
    plain = recommender.recommend([Query("alice", n=film_library.ITEMS)])[0]
    assert len(plain.items) == film_library.ITEMS - len(own)

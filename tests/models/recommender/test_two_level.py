"""The learned ranker: more than a thousand interactions of three tastes, enough to hold some of them back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from models.errors import InvalidInput
from models.recommender import archive
from models.recommender.archive import Contents
from models.recommender.candidates import FACTS, Facts, blended, names, places
from models.recommender.dataset import Dataset, from_triplets
from models.recommender.ids import IdIndex, Texts
from models.recommender.two_level import TwoLevel, TwoLevelParams

USERS, ITEMS, TASTES = 120, 60, 3
PARAMS = TwoLevelParams(retrievers=("ease", "user-knn", "popular"), candidates=20, folds=2, rounds=30)


def tastes(seed: int = 0) -> Dataset:
    """Users who take half of the items of their own taste and few others."""
    random = np.random.default_rng(seed)
    is_own = np.arange(USERS)[:, None] % TASTES == np.arange(ITEMS)[None, :] % TASTES
    users, items = np.nonzero(random.random((USERS, ITEMS)) < np.where(is_own, 0.5, 0.05))
    times = 1_000_000 + random.integers(0, 10_000_000, len(users))
    kinds = sparse.csr_array(np.eye(TASTES, dtype=np.float32)[np.arange(ITEMS) % TASTES])
    ratings = random.integers(1, 6, len(users)).astype(np.float32)
    return from_triplets(users, items, shape=(USERS, ITEMS), times=times, ratings=ratings, item_features=kinds)


@pytest.fixture(scope="module")
def fitted() -> TwoLevel:
    return TwoLevel(PARAMS).fit(tastes())


def test_a_ranker_is_learned_and_tells_what_it_used(fitted: TwoLevel) -> None:
    assert fitted.ranker_ is not None
    shares = fitted.importance()
    assert set(shares) == {name.replace(" ", "_") for name in names(PARAMS.retrievers)}
    assert sum(shares.values()) == pytest.approx(1)


def test_unseen_items_of_the_own_taste_come_first(fitted: TwoLevel) -> None:
    items, scores = fitted.recommend(np.arange(USERS), 3)
    share = (items % TASTES == (np.arange(USERS) % TASTES)[:, None]).mean()
    assert share > 0.8
    assert ((scores > 1) & (scores < 2)).all()


def test_items_beyond_the_candidates_follow_below_them(fitted: TwoLevel) -> None:
    _, scores = fitted.recommend(np.arange(5), ITEMS)
    counts = np.diff(fitted.dataset_.histories(np.arange(5)).indptr)
    for row, seen in zip(scores, counts, strict=True):
        shown = row[np.isfinite(row)]
        assert len(shown) == ITEMS - seen
        assert (np.diff(shown) <= 0).all()
        assert shown[0] > 1 > shown[-1]


def test_the_same_seed_learns_the_same_ranker(fitted: TwoLevel) -> None:
    again = TwoLevel(PARAMS).fit(tastes())
    np.testing.assert_array_equal(again.score(np.arange(USERS)), fitted.score(np.arange(USERS)))


def test_saved_and_reloaded_it_ranks_the_same(fitted: TwoLevel, tmp_path: Path) -> None:
    users, items = IdIndex.of([str(u) for u in range(USERS)]), IdIndex.of([str(i) for i in range(ITEMS)])
    contents = Contents(users, items, Texts.of([""] * ITEMS), fitted.dataset_, {"two-level": fitted}, "two-level")
    archive.write(contents, tmp_path)
    again = archive.read(tmp_path).algorithms["two-level"]
    np.testing.assert_array_equal(again.score(np.arange(USERS)), fitted.score(np.arange(USERS)))
    assert (tmp_path / "models" / "two-level" / "ranker.txt").read_text().startswith("tree")


def test_a_retriever_that_there_is_not_is_refused() -> None:
    for name in ("magic", "two-level"):
        with pytest.raises(InvalidInput, match=f"'{name}' cannot be a retriever"):
            TwoLevel(TwoLevelParams(retrievers=(name,))).fit(tastes())


def test_what_no_retriever_can_do_is_refused(fitted: TwoLevel) -> None:
    only_popular = TwoLevel(TwoLevelParams(retrievers=("popular",), folds=0)).fit(tastes())
    with pytest.raises(InvalidInput, match="cannot do similar items"):
        only_popular.similar_items(np.array([0]), 3)


def test_places_count_unseen_items_only() -> None:
    seen = sparse.csr_array(np.array([[1, 0, 0, 0]]))
    found = places(np.array([[9, 3, 5, 1]], np.float32), seen)
    assert found.tolist() == [[1, 2, 1, 3]]
    assert blended({"a": found, "b": found}).argsort()[0].tolist()[0] == 3


def test_facts_know_nothing_of_what_happened_later() -> None:
    day = 86_400
    users, items = np.array([0, 1, 2, 3]), np.array([1, 1, 1, 0])
    times = np.array([10, 35, 50, 60]) * day
    facts = Facts(from_triplets(users, items, shape=(4, 2), times=times))
    nobody = sparse.csr_array((3, 2), dtype=np.float32)
    recent = FACTS.index("recent_popularity") - 1
    pairs = (np.array([0, 1, 2]), np.array([1, 1, 0]))
    found = facts.of(nobody, np.array([35, 55, 55]) * day, pairs)[:, recent]
    np.testing.assert_allclose(np.expm1(found), [2, 2, 0], atol=1e-5)

"""The two-stage recommender on a thousand interactions of three tastes, enough to train a ranker."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from models.card import Card, DataSource
from models.errors import InvalidInput
from models.recommender import archive
from models.recommender.algorithms.base import Capability
from models.recommender.algorithms.neighbours import UserNeighbours
from models.recommender.archive import Contents
from models.recommender.dataset.dataset import Dataset, from_triplets
from models.recommender.dataset.encoding import Attribute, Encoder
from models.recommender.dataset.feature_store import FeatureStore
from models.recommender.dataset.ids import IdIndex, StringArray
from models.recommender.online.predictor import Query, Recommender
from models.recommender.ranking.candidates import RetrieverScores, feature_names, rank_items
from models.recommender.ranking.two_stage import TwoStage, TwoStageParams
from models.store.artifacts import Artifact
from tests.models.recommender import film_library
from tests.models.recommender.checkerboard import make
from training.recommender.parity import serving_parity

USERS, ITEMS, TASTES = 120, 60, 3
PARAMS = TwoStageParams(retrievers=("ease", "user-knn", "popular"), candidates=20, folds=2, rounds=30)


def tastes(seed: int = 0) -> Dataset:
    """Return users with half of the items of their taste and few others."""
    random = np.random.default_rng(seed)
    is_own = np.arange(USERS)[:, None] % TASTES == np.arange(ITEMS)[None, :] % TASTES
    users, items = np.nonzero(random.random((USERS, ITEMS)) < np.where(is_own, 0.5, 0.05))
    times = 1_000_000 + random.integers(0, 10_000_000, len(users))
    kinds = sparse.csr_array(np.eye(TASTES, dtype=np.float32)[np.arange(ITEMS) % TASTES])
    ratings = random.integers(1, 6, len(users)).astype(np.float32)
    return from_triplets(users, items, shape=(USERS, ITEMS), times=times, ratings=ratings, item_features=kinds)


@pytest.fixture(scope="module")
def fitted() -> TwoStage:
    return TwoStage(PARAMS).fit(tastes())


def test_a_ranker_is_trained_and_reports_its_importance(fitted: TwoStage) -> None:
    assert fitted.ranker_ is not None
    shares = fitted.importance()
    assert set(shares) == set(feature_names(PARAMS.retrievers))
    assert sum(shares.values()) == pytest.approx(1)


def test_unseen_items_of_the_users_taste_are_first(fitted: TwoStage) -> None:
    items, scores = fitted.recommend(np.arange(USERS), 3)
    share = (items % TASTES == (np.arange(USERS) % TASTES)[:, None]).mean()
    assert share > 0.8
    assert ((scores > 1) & (scores < 2)).all()


def test_items_beyond_the_candidates_follow_below_them(fitted: TwoStage) -> None:
    _, scores = fitted.recommend(np.arange(5), ITEMS)
    counts = np.diff(fitted.dataset_.histories(np.arange(5)).indptr)
    for row, seen in zip(scores, counts, strict=True):
        shown = row[np.isfinite(row)]
        assert len(shown) == ITEMS - seen
        assert (np.diff(shown) <= 0).all()
        assert shown[0] > 1 > shown[-1]


def test_the_same_seed_gives_the_same_ranker(fitted: TwoStage) -> None:
    reloaded = TwoStage(PARAMS).fit(tastes())
    np.testing.assert_array_equal(reloaded.score(np.arange(USERS)), fitted.score(np.arange(USERS)))


def test_a_reloaded_ranker_gives_the_same_scores(fitted: TwoStage, tmp_path: Path) -> None:
    users, items = IdIndex.of([str(u) for u in range(USERS)]), IdIndex.of([str(i) for i in range(ITEMS)])
    contents = Contents(users, items, StringArray.of([""] * ITEMS), fitted.dataset_, {"two-level": fitted}, "two-level")
    archive.write(contents, tmp_path)
    reloaded = archive.read(tmp_path).algorithms["two-level"]
    np.testing.assert_array_equal(reloaded.score(np.arange(USERS)), fitted.score(np.arange(USERS)))
    assert (tmp_path / "models" / "two-level" / "ranker.txt").read_text().startswith("tree")


def test_an_unknown_retriever_is_refused() -> None:
    for name in ("magic", "two-level"):
        with pytest.raises(InvalidInput, match=f"'{name}' cannot be a retriever"):
            TwoStage(TwoStageParams(retrievers=(name,))).fit(tastes())


def test_a_capability_of_no_retriever_is_refused(fitted: TwoStage) -> None:
    only_popular = TwoStage(TwoStageParams(retrievers=("popular",), folds=0)).fit(tastes())
    with pytest.raises(InvalidInput, match="does not support similar items"):
        only_popular.similar_items(np.array([0]), 3)


@pytest.mark.parametrize(
    ("retrievers", "supported"),
    [
        (TwoStageParams().retrievers, TwoStage.capabilities),
        (("ease", "user-knn"), {"known_users", "history", "similar_items", "similar_users", "explanations"}),
        (("user-knn", "popular"), {"known_users", "history", "similar_users"}),
        (("popular",), {"known_users", "history"}),
        (("magic",), {"known_users", "history"}),
    ],
)
def test_it_has_the_capabilities_of_its_retrievers(retrievers: tuple[str, ...], supported: set[Capability]) -> None:
    two_stage = TwoStage(TwoStageParams(retrievers=retrievers))
    assert {each for each in get_args(Capability) if two_stage.supports(each)} == supported


def test_a_history_needs_every_retriever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserNeighbours, "capabilities", UserNeighbours.capabilities - {"history"})
    two_stage = TwoStage(TwoStageParams(retrievers=("ease", "user-knn"), folds=0)).fit(tastes())
    assert not two_stage.supports("history")
    with pytest.raises(InvalidInput, match="does not support history"):
        two_stage.score_histories(two_stage.dataset_.histories(np.array([0])))


def test_the_strategy_falls_back_to_another_algorithm_or_the_segment() -> None:
    params = TwoStageParams(retrievers=("ease", "user-knn"), folds=0)
    contents = film_library.contents()
    dataset = contents.dataset
    fitted = {"two-level": TwoStage(params).fit(dataset), "popular": contents.algorithms["popular"]}
    with_factors = fitted | {"lightfm-warp": make("lightfm-warp").fit(dataset)}
    for algorithms, fallback in ((fitted, ("popular", "segment")), (with_factors, ("lightfm-warp", "user_features"))):
        served = dataclasses.replace(contents, algorithms=algorithms, default="two-level")
        recommender = Recommender(ARTIFACT, served)
        queries = (Query("new", user_features={"gender": "F"}), Query(film_library.FEATURED), Query("alice"))
        answers = recommender.recommend(queries)
        assert [(each.model, each.reason) for each in answers] == [fallback, fallback, ("two-level", None)]
        named = recommender.recommend([Query("new", model="two-level", user_features={"gender": "F"})])[0]
        assert "'two-level' cannot answer from user features; these can: " in (named.error or "")


def test_retrievers_have_their_settings_and_the_seed() -> None:
    params = TwoStageParams(retrievers=("ease", "als"), settings=("ease.l2=2.5", "als.factors=4"), seed=7)
    two_stage = TwoStage(params)
    assert two_stage.retriever("ease").params.l2 == 2.5
    assert (two_stage.retriever("als").params.factors, two_stage.retriever("als").params.seed) == (4, 7)
    with pytest.raises(InvalidInput, match="'ease' has no parameter 'l3'; known: l2"):
        TwoStage(TwoStageParams(retrievers=("ease",), settings=("ease.l3=1",))).retriever("ease")


def test_without_lightgbm_a_saved_ranker_answers(fitted: TwoStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    reloaded = TwoStage(PARAMS).restore(fitted.arrays(), fitted.dataset_, fitted.texts())
    np.testing.assert_array_equal(reloaded.score(np.arange(9)), fitted.score(np.arange(9)))
    assert reloaded.importance() == fitted.importance()


def test_what_is_served_agrees_with_lightgbm(fitted: TwoStage) -> None:
    parity = serving_parity([fitted])
    assert parity is not None
    assert (parity.reference.split()[0], parity.runtime) == ("lightgbm", "onnxruntime")
    assert parity.max_difference < 1e-5


@pytest.mark.slow
def test_histogram_boosting_is_a_ranker() -> None:
    baseline = TwoStage(dataclasses.replace(PARAMS, ranker="histogram")).fit(tastes())
    assert baseline.texts() == {}
    items, _ = baseline.recommend(np.arange(USERS), 3)
    assert (items % TASTES == (np.arange(USERS) % TASTES)[:, None]).mean() > 0.8
    reloaded = TwoStage(baseline.params).restore(baseline.arrays(), baseline.dataset_)
    np.testing.assert_array_equal(reloaded.score(np.arange(9)), baseline.score(np.arange(9)))


def test_changed_attributes_change_the_input_of_the_ranker(fitted: TwoStage) -> None:
    two_stage = TwoStage(PARAMS).restore(fitted.arrays(), fitted.dataset_, fitted.texts())
    before = two_stage.candidate_features(np.arange(9))
    swapped = sparse.csr_array(np.eye(TASTES, dtype=np.float32)[np.arange(ITEMS) // 20])
    two_stage.refresh(None, swapped)
    changed = (two_stage.candidate_features(np.arange(9)) != before).any(axis=0)
    assert [name for name, is_other in zip(feature_names(PARAMS.retrievers), changed, strict=True) if is_other] == [
        "affinity"
    ]


def test_ranks_count_only_unseen_items() -> None:
    seen = sparse.csr_array(np.array([[1, 0, 0, 0]]))
    scores = np.array([[9, 3, 5, 1]], np.float32)
    assert rank_items(scores, seen).tolist() == [[1, 2, 1, 3]]
    for hides_seen in (False, True):
        view = RetrieverScores(
            {"a": scores, "b": scores}, seen, np.array([0]), {"a": 1.0, "b": 0.2}, hides_seen=hides_seen
        )
        expected = [1, 2] if hides_seen else [0, 1, 2]
        assert [each.tolist() for each in view.pairs(2)] == [[0] * len(expected), expected]
        assert view.is_unseen(view.pairs(2)).tolist() == [item > 0 for item in expected]


@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_ranks_are_by_score_and_then_by_column(seed: int, items: int) -> None:
    random = np.random.default_rng(seed)
    few = np.array([-np.inf, -3.5, -1e-30, -0.0, 0.0, 1e-30, 2.0, 3e38], np.float32)
    scores = random.choice(few, (3, items))
    expected = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable") + 1
    assert rank_items(scores, sparse.csr_array((3, items), dtype=np.float32)).tolist() == expected.tolist()


def test_a_blend_uses_its_weights() -> None:
    nothing = sparse.csr_array((1, 3), dtype=np.float32)
    scores = {"a": np.array([[3, 2, 1]], np.float32), "b": np.array([[1, 2, 3]], np.float32)}
    for weights, first in (({"a": 1.0, "b": 0.1}, 0), ({"a": 0.1, "b": 1.0}, 2)):
        assert RetrieverScores(scores, nothing, np.array([0]), weights).blend.argmax() == first


def test_tables_that_change_while_serving_change_the_input_of_the_ranker(fitted: TwoStage, tmp_path: Path) -> None:
    two_stage = TwoStage(PARAMS).restore(fitted.arrays(), fitted.dataset_, fitted.texts())
    ids = [str(row) for row in range(max(USERS, ITEMS))]
    kinds = Encoder((Attribute("kind", "category", tuple("abc")),))
    recommender = Recommender(
        ARTIFACT,
        Contents(
            IdIndex.of(ids[:USERS]),
            IdIndex.of(ids[:ITEMS]),
            StringArray.of([""] * ITEMS),
            fitted.dataset_,
            {"two-level": two_stage},
            "two-level",
            item_encoder=kinds,
        ),
        features=FeatureStore(tables(tmp_path, ids)),
    )
    before = two_stage.candidate_features(np.arange(9))
    match, missing = recommender.recommend([Query("0"), Query("1")])
    assert (match.features, missing.features) == ("found", "missing")
    assert (match.reason, missing.reason, match.model) == (None, None, "two-level")
    recommender.state.wait()
    changed = (two_stage.candidate_features(np.arange(9)) != before).any(axis=0)
    assert changed[feature_names(PARAMS.retrievers).index("affinity")]


def tables(folder: Path, ids: list[str]) -> Path:
    """Write items of other kinds than in training, and a row of one user."""
    items = {"item_id": ids[:ITEMS], "kind": ["abc"[row // 20] for row in range(ITEMS)]}
    pyarrow.parquet.write_table(pyarrow.table(items), folder / "items.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"user_id": ["0"], "age": [30]}), folder / "users.parquet")
    return folder


ARTIFACT = Artifact(
    name="tastes",
    version="1",
    folder=Path("nowhere"),
    card=Card(
        name="tastes",
        task="recommendation",
        algorithm="two-level",
        created=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        inputs=(),
        outputs=(),
        metrics={},
        data=DataSource("tastes", "0" * 64, 1),
    ),
)

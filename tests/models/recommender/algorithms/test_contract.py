"""The contract of all algorithms in the registry."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse

from models.errors import InvalidInput
from models.recommender import archive
from models.recommender.algorithms.base import Capability
from models.recommender.archive import Contents
from models.recommender.dataset.dataset import Dataset, from_triplets
from models.recommender.dataset.ids import IdIndex, StringArray
from models.recommender.registry import ALGORITHMS, AnyAlgorithm, Registry
from tests.models.recommender.checkerboard import ITEMS, USERS, checkerboard, dataset, make, missed

everyone = pytest.mark.parametrize("name", ALGORITHMS.names())
ALL_USERS = np.arange(USERS)


def featured() -> Dataset:
    colours = sparse.csr_array(np.eye(2, dtype=np.float32)[np.arange(USERS) % 2])
    kinds = sparse.csr_array(np.eye(2, dtype=np.float32)[np.arange(ITEMS) % 2])
    times = np.arange(checkerboard().interactions.nnz)
    return checkerboard(user_features=colours, item_features=kinds, times=times)


@functools.cache
def fitted_on_board(name: str) -> AnyAlgorithm:
    """Return the algorithm, fitted once for all tests. They must not change it."""
    return make(name).fit(featured())


def is_personalised(name: str) -> bool:
    return not make(name).supports("anyone")


@everyone
def test_the_missed_item_of_the_users_colour_is_first(name: str) -> None:
    items, scores = fitted_on_board(name).recommend(ALL_USERS, 3)
    if is_personalised(name):
        assert items[:, 0].tolist() == [missed(user) for user in range(USERS)]
    assert (np.diff(np.where(np.isneginf(scores), np.float32(-1e30), scores), axis=1) <= 0).all()


@everyone
def test_a_reloaded_algorithm_gives_the_same_results(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("artifact")
    fitted = fitted_on_board(name)
    users, items = IdIndex.of([str(u) for u in range(USERS)]), IdIndex.of([f"i{i}" for i in range(ITEMS)])
    archive.write(Contents(users, items, StringArray.of([""] * ITEMS), fitted.dataset_, {name: fitted}, name), folder)
    reloaded = archive.read(folder).algorithms[name]
    assert reloaded.params == fitted.params
    for mine, theirs in zip(fitted.recommend(ALL_USERS, 5), reloaded.recommend(ALL_USERS, 5), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    if fitted.supports("history"):
        histories = fitted.dataset_.histories(ALL_USERS)
        np.testing.assert_array_equal(fitted.score_histories(histories), reloaded.score_histories(histories))


@everyone
def test_the_same_seed_gives_the_same_scores(name: str) -> None:
    first, second = (each.score(ALL_USERS) for each in (fitted_on_board(name), make(name).fit(featured())))
    np.testing.assert_array_equal(first, second)


@everyone
def test_seen_items_are_filtered_on_request(name: str) -> None:
    fitted = fitted_on_board(name)
    seen = [set(row.indices.tolist()) for row in map(fitted.dataset_.histories, np.arange(USERS)[:, None])]
    filtered, _ = fitted.recommend(ALL_USERS, ITEMS)
    unfiltered, _ = fitted.recommend(ALL_USERS, ITEMS, filter_seen=False)
    assert all(not own & set(items.tolist()) for own, items in zip(seen, filtered, strict=True))
    assert any(own & set(items.tolist()) for own, items in zip(seen, unfiltered, strict=True))


@everyone
def test_more_items_than_the_catalogue_holds(name: str) -> None:
    items, scores = fitted_on_board(name).recommend(ALL_USERS, 10 * ITEMS)
    assert items.shape == scores.shape == (USERS, ITEMS)
    assert (np.isneginf(scores) == (items == -1)).all()
    for row in items:
        shown = row[row >= 0]
        assert len(set(shown.tolist())) == len(shown) <= ITEMS - 7


@everyone
def test_results_are_independent_of_other_users_in_the_batch(name: str) -> None:
    fitted = fitted_on_board(name)
    together, _ = fitted.recommend(ALL_USERS, 1)
    single = [fitted.recommend(np.array([user]), 1)[0][0, 0] for user in range(USERS)]
    assert together[:, 0].tolist() == single


@everyone
def test_a_user_without_items_gets_finite_scores_or_none(name: str) -> None:
    pairs = [(u, i) for u in range(4) for i in range(4) if u % 2 == i % 2]
    items, scores = make(name).fit(dataset(pairs, (5, 4))).recommend(np.array([4]), 4)
    assert items.shape == (1, 4)
    assert not np.isnan(scores).any()


@pytest.mark.parametrize("name", ALGORITHMS.supporting("history"))
def test_an_empty_history_gets_finite_scores_or_none(name: str) -> None:
    fitted = fitted_on_board(name)
    scores = fitted.score_histories(sparse.csr_array((1, ITEMS), dtype=np.float32))
    assert scores.shape == (1, ITEMS)
    assert not np.isnan(scores).any()
    assert not np.isposinf(scores).any()


@everyone
@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_one_user_or_one_item_is_enough(name: str, shape: tuple[int, int]) -> None:
    fitted = make(name).fit(dataset([(0, 0)], shape))
    items, scores = fitted.recommend(np.arange(shape[0]), 3)
    assert items.shape == (shape[0], min(3, shape[1]))
    assert 0 not in items[0]
    assert not np.isnan(scores).any()


@everyone
def test_duplicates_are_merged_into_one_interaction_of_higher_weight(name: str) -> None:
    pairs = [(u, i) for u in range(4) for i in range(4) if u % 2 == i % 2 and (u, i) != (0, 2)]
    kinds = sparse.csr_array(np.eye(2, dtype=np.float32)[np.arange(4) % 2])
    fitted = make(name).fit(dataset(pairs * 3, (4, 4), item_features=kinds))
    assert fitted.dataset_.interactions.nnz == len(pairs)
    assert set(fitted.dataset_.interactions.data.tolist()) == {3.0}
    items, _ = fitted.recommend(np.array([0]), 4)
    assert 0 not in items[0]
    if is_personalised(name):
        assert items[0, 0] == 2


@everyone
def test_counts_and_ratings_are_accepted(name: str) -> None:
    board = featured()
    events = board.interactions.tocoo()
    counts = (1 + np.arange(len(events.data)) % 5).astype(np.float32)
    weighted = from_triplets(
        events.row.astype(np.int64),
        events.col.astype(np.int64),
        shape=(USERS, ITEMS),
        weights=counts,
        ratings=counts,
        user_features=board.user_features,
        item_features=board.item_features,
    )
    items, _ = make(name).fit(weighted).recommend(ALL_USERS, 1)
    if is_personalised(name):
        # lightfm takes larger steps for higher weights and does not fit every event.
        assert (items[:, 0] % 2 == ALL_USERS % 2).mean() >= 0.9


@pytest.mark.slow
@everyone
def test_capabilities_are_supported_without_itself_refused(name: str) -> None:
    fitted = fitted_on_board(name)
    histories, features = fitted.dataset_.histories(ALL_USERS), fitted.dataset_.user_features
    calls: dict[Capability, Callable[[], object]] = {
        "history": lambda: fitted.score_histories(histories),
        "user_features": lambda: fitted.score_features(features),
        "similar_items": lambda: fitted.similar_items(np.arange(ITEMS), 3),
        "similar_users": lambda: fitted.similar_users(ALL_USERS, 3),
        "explanations": lambda: fitted.explain(histories, fitted.recommend(ALL_USERS, 2)[0], 2),
    }
    for capability, call in calls.items():
        if fitted.supports(capability):
            call()
        else:
            with pytest.raises(InvalidInput, match=f"'{name}' does not support"):
                call()


@pytest.mark.parametrize("name", [n for n in ALGORITHMS.supporting("history") if is_personalised(n)])
def test_an_unknown_user_with_a_history_gets_items_of_its_colour(name: str) -> None:
    fitted = fitted_on_board(name)
    histories = fitted.dataset_.histories(np.array([0, 1]))
    scores = fitted.score_histories(histories)
    assert scores[0, missed(0)] > scores[0, 1::2].max()
    assert scores[1, missed(1)] > scores[1, 0::2].max()


@pytest.mark.parametrize("name", [n for n in ALGORITHMS.supporting("user_features") if is_personalised(n)])
def test_an_unknown_user_with_features_gets_items_of_its_colour(name: str) -> None:
    fitted = fitted_on_board(name)
    scores = fitted.score_features(sparse.csr_array(np.eye(2, dtype=np.float32)))
    assert scores[0, 0::2].mean() > scores[0, 1::2].mean()
    assert scores[1, 1::2].mean() > scores[1, 0::2].mean()


@pytest.mark.parametrize("name", ALGORITHMS.supporting("similar_items"))
def test_similar_items_are_of_the_same_colour_without_itself(name: str) -> None:
    items, _ = fitted_on_board(name).similar_items(np.arange(ITEMS), 3)
    assert ((items % 2) == (np.arange(ITEMS) % 2)[:, None]).all()
    assert (items != np.arange(ITEMS)[:, None]).all()


@pytest.mark.parametrize("name", ALGORITHMS.supporting("similar_users"))
def test_similar_users_are_of_the_same_colour_without_itself(name: str) -> None:
    users, _ = fitted_on_board(name).similar_users(ALL_USERS, 3)
    assert ((users % 2) == (ALL_USERS % 2)[:, None]).all()
    assert (users != ALL_USERS[:, None]).all()


@pytest.mark.parametrize("name", ALGORITHMS.supporting("explanations"))
def test_explanations_name_items_of_the_history(name: str) -> None:
    fitted = fitted_on_board(name)
    histories = fitted.dataset_.histories(ALL_USERS)
    items, _ = fitted.recommend(ALL_USERS, 1)
    causes, amounts = fitted.explain(histories, items, 3)
    assert causes.shape == amounts.shape == (USERS, 1, 3)
    for user in range(USERS):
        named = causes[user, 0] >= 0
        assert named[0]
        assert set(causes[user, 0][named].tolist()) <= set(histories[[user]].indices.tolist())
        assert (amounts[user, 0][named] > 0).all()


def test_the_registry_refuses_the_same_name_twice() -> None:
    registry = Registry()
    registry.add(ALGORITHMS.find("ease"))
    with pytest.raises(ValueError, match="'ease' is registered already"):
        registry.add(ALGORITHMS.find("ease"))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"no algorithm 'eas'; known: .*ease.*lightfm-warp"):
        ALGORITHMS.find("eas")


def test_an_unknown_parameter_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="'ease' has no parameter 'lambda'; known: l2, max_items"):
        ALGORITHMS.create("ease", {"lambda": 1})

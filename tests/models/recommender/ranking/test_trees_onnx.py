from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from models.onnx_session import open_session, run_session
from models.recommender.ranking.trees_onnx import from_histograms, from_lightgbm, gains, to_onnx


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    rows = random.normal(size=(600, 5)).astype(np.float32)
    return rows, rows[:, 0] * rows[:, 1] + np.sin(3 * rows[:, 2])


def test_a_graph_answers_as_lightgbm_does_on_both_sides_of_every_threshold() -> None:
    rows, wanted = data()
    options = {"objective": "regression", "num_leaves": 9, "verbose": -1, "num_threads": 1}
    names = [f"f{column}" for column in range(5)]
    trees = lightgbm.train(options, lightgbm.Dataset(rows, wanted, feature_name=names), 20)
    text = trees.model_to_string()
    forest = from_lightgbm(text)
    asked = rows.copy()
    for tree in forest.trees:  # float32 neighbours of thresholds, where rounding would show
        for feature, threshold in zip(tree.features, tree.thresholds, strict=True):
            row = np.repeat(rows[:1], 2, axis=0)
            row[:, feature] = np.float32(threshold), np.nextafter(np.float32(threshold), np.float32(np.inf))
            asked = np.concatenate((asked, row))
    got = run_session(open_session(to_onnx(forest)), asked)[:, 0]
    np.testing.assert_allclose(got, trees.predict(asked, num_threads=1), atol=1e-5)
    expected = trees.feature_importance("gain")
    assert list(gains(text).values()) == pytest.approx((expected / expected.sum()).tolist(), rel=1e-4)


def test_a_graph_answers_as_histogram_boosting_does() -> None:
    rows, wanted = data()
    model = HistGradientBoostingRegressor(max_iter=15, max_leaf_nodes=6).fit(rows, wanted)
    got = run_session(open_session(to_onnx(from_histograms(model))), rows)[:, 0]
    np.testing.assert_allclose(got, model.predict(rows), atol=1e-5)


def test_a_tree_that_found_nothing_is_one_leaf() -> None:
    rows, wanted = data()
    options = {"objective": "regression", "min_data_in_leaf": 1000, "verbose": -1, "num_threads": 1}
    text = lightgbm.train(options, lightgbm.Dataset(rows, wanted), 2).model_to_string()
    got = run_session(open_session(to_onnx(from_lightgbm(text))), rows)[:, 0]
    np.testing.assert_allclose(got, wanted.mean(), atol=1e-5)
    assert sum(gains(text).values()) == 0

"""Tests of the ranker's graphs: they return what LightGBM returns."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from models.onnx_session import open_session, run_session
from models.recommender.ranking.trees_onnx import to_onnx
from models.trees import from_lightgbm, gains
from tests.models.test_trees import data


def test_a_graph_returns_what_lightgbm_returns_on_both_sides_of_every_threshold() -> None:
    rows, targets = data()
    options = {"objective": "regression", "num_leaves": 9, "verbose": -1, "num_threads": 1}
    names = [f"f{column}" for column in range(5)]
    model = lightgbm.train(options, lightgbm.Dataset(rows, targets, feature_name=names), 20)
    text = model.model_to_string()
    ensemble = from_lightgbm(text)
    inputs = rows.copy()
    for tree in ensemble.trees:  # float32 neighbours of thresholds, where rounding would show
        for feature, threshold in zip(tree.features, tree.thresholds, strict=True):
            row = np.repeat(rows[:1], 2, axis=0)
            row[:, feature] = np.float32(threshold), np.nextafter(np.float32(threshold), np.float32(np.inf))
            inputs = np.concatenate((inputs, row))
    outputs = run_session(open_session(to_onnx(ensemble)), inputs)[:, 0]
    np.testing.assert_allclose(outputs, model.predict(inputs, num_threads=1), atol=1e-5)
    expected = model.feature_importance("gain")
    assert list(gains(text).values()) == pytest.approx((expected / expected.sum()).tolist(), rel=1e-4)


def test_a_tree_without_a_split_is_one_leaf() -> None:
    rows, targets = data()
    options = {"objective": "regression", "min_data_in_leaf": 1000, "verbose": -1, "num_threads": 1}
    text = lightgbm.train(options, lightgbm.Dataset(rows, targets), 2).model_to_string()
    outputs = run_session(open_session(to_onnx(from_lightgbm(text))), rows)[:, 0]
    np.testing.assert_allclose(outputs, targets.mean(), atol=1e-5)
    assert sum(gains(text).values()) == 0

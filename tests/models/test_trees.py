"""Tests of tree ensembles: their ONNX attributes compute what scikit-learn computes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from models.onnx_session import open_session, run_session
from models.recommender.ranking.trees_onnx import to_onnx
from models.trees import float32_below, from_histograms


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    rows = random.normal(size=(600, 5)).astype(np.float32)
    return rows, rows[:, 0] * rows[:, 1] + np.sin(3 * rows[:, 2])


def test_a_graph_returns_what_histogram_boosting_returns() -> None:
    rows, targets = data()
    model = HistGradientBoostingRegressor(max_iter=15, max_leaf_nodes=6).fit(rows, targets)
    outputs = run_session(open_session(to_onnx(from_histograms(model))), rows)[:, 0]
    np.testing.assert_allclose(outputs, model.predict(rows), atol=1e-5)


def test_several_classes_and_missing_values_are_converted() -> None:
    rows, targets = data()
    rows[np.random.default_rng(1).random(rows.shape) < 0.2] = np.nan
    classes = np.digitize(targets, [-0.5, 0.5])
    model = HistGradientBoostingClassifier(max_iter=10, max_leaf_nodes=6).fit(rows, classes)
    ensemble = from_histograms(model)
    assert len(ensemble.bases) == 3
    outputs = run_session(open_session(to_onnx(ensemble)), rows)
    np.testing.assert_allclose(outputs, model.decision_function(rows), atol=1e-5)


@pytest.mark.parametrize("threshold", [0.1, -0.1, 16_777_217 / 3, 1e30, np.inf])
def test_a_rounded_threshold_separates_the_same_float32_values(threshold: float) -> None:
    rounded = float32_below(np.array([threshold]))[0]
    assert float(rounded) <= threshold
    assert np.isinf(rounded) or float(np.nextafter(rounded, np.float32(np.inf))) > threshold

"""Tests of metrics by class, on predictions with known metrics."""

from __future__ import annotations

import numpy as np
import pytest

from training.class_metrics import by_class, confusion

NAMES = ("a", "b", "c", "never")


def probabilities(predicted: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.eye(len(NAMES), dtype=np.float32)[predicted]


def test_metrics_follow_their_definitions() -> None:
    random = np.random.default_rng(3)
    of, predicted = random.integers(0, 3, 200), random.integers(0, 3, 200)

    metrics = by_class(probabilities(predicted.tolist()), of, NAMES)

    for index, name in enumerate(NAMES[:3]):
        hits = int(((of == index) & (predicted == index)).sum())
        precision, recall = hits / (predicted == index).sum(), hits / (of == index).sum()
        expected = [precision, recall, 2 * precision * recall / (precision + recall), (of == index).sum()]
        values = [metrics[f"class={name}"][key] for key in ("precision", "recall", "f1", "support")]
        assert values == pytest.approx(expected)


def test_a_class_without_rows_has_zeros() -> None:
    metrics = by_class(probabilities([0, 1]), np.array([0, 0]), NAMES)

    assert metrics["class=never"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert metrics["class=a"] == {"precision": 1, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}


def test_the_rows_of_the_confusion_matrix_are_true_classes() -> None:
    counts = confusion(probabilities([1, 1, 2]), np.array([0, 1, 2]))
    assert counts[:3, :3].tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 1]]

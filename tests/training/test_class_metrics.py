"""Metrics by class, on answers whose worth is known and beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from training.class_metrics import by_class, confusion

NAMES = ("a", "b", "c", "never")


def answers(called: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.eye(len(NAMES), dtype=np.float32)[called]


def test_they_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(3)
    of, called = random.integers(0, 3, 200), random.integers(0, 3, 200)

    found = by_class(answers(called.tolist()), of, NAMES)

    expected = precision_recall_fscore_support(of, called, labels=range(4), zero_division=0.0)
    for index, name in enumerate(NAMES):
        told = [found[f"class={name}"][key] for key in ("precision", "recall", "f1", "support")]
        assert told == pytest.approx([each[index] for each in expected])


def test_a_class_without_rows_is_told_with_nothing() -> None:
    found = by_class(answers([0, 1]), np.array([0, 0]), NAMES)

    assert found["class=never"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert found["class=a"] == {"precision": 1, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}


def test_the_confusion_is_by_true_class() -> None:
    assert confusion(answers([1, 1, 2]), np.array([0, 1, 2]))[:3, :3].tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 1]]

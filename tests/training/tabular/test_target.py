"""Tests of the target: classes or numbers, and the notes on decisions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.errors import DataInvalid
from training.tabular.target import Target, TaskChoice, read_target, split

N = 120


def read(values: object, task: TaskChoice = "auto") -> Target:
    frame = pd.DataFrame({"x": np.arange(len(list(values))), "y": values})  # type: ignore[call-overload]
    return read_target(frame, "y", task)


@pytest.mark.parametrize(
    ("values", "classes", "label_type", "first"),
    [
        (["no", "yes"] * (N // 2), ("no", "yes"), "text", 0),
        ([True, False] * (N // 2), ("false", "true"), "boolean", 1),
        ([10, 9, 2] * (N // 3), ("2", "9", "10"), "number", 2),
        ([1.0, 0.0, 0.5] * (N // 3), ("0", "0.5", "1"), "number", 2),
        (pd.Categorical(["b", "a"] * (N // 2)), ("a", "b"), "text", 1),
    ],
)
def test_classes_are_text_in_a_sensible_order(
    values: object, classes: tuple[str, ...], label_type: str, first: int
) -> None:
    target = read(values)
    assert (target.classes, target.label_type) == (classes, label_type)
    assert target.values[0] == first


def test_few_distinct_numbers_are_classes_with_a_note() -> None:
    target = read([0, 1] * (N // 2))
    assert target.is_classification
    assert target.notes == ("'y' holds 2 distinct numbers: they are read as classes (otherwise: --task regression)",)
    assert not read([0, 1] * (N // 2), "regression").is_classification


def test_many_distinct_numbers_are_numbers() -> None:
    target = read(np.arange(N) / 3)
    assert not target.is_classification
    np.testing.assert_array_equal(target.values, np.arange(N) / 3)


def test_rows_without_a_target_are_omitted_with_a_note() -> None:
    target = read(["a", None, "b"] * (N // 3))
    assert target.notes == ("40 rows without 'y' are left out",)
    assert target.is_used.tolist() == [True, False, True] * (N // 3)
    assert len(target.values) == 80


def test_small_classes_are_omitted_with_a_note() -> None:
    target = read(["a", "b"] * (N // 2) + ["c"] * 9)
    assert target.classes == ("a", "b")
    assert target.is_used.tolist() == [True] * N + [False] * 9
    assert target.notes == ("1 classes of fewer than 10 rows are left out: 'c' (9)",)


def test_sixty_classes_are_supported() -> None:
    assert len(read([f"c{number % 60}" for number in range(600)]).classes) == 60


@pytest.mark.parametrize(
    ("values", "task", "fault"),
    [
        (["a"] * N, "auto", "1 class of at least 10 rows"),
        ([f"c{number}" for number in range(N)], "auto", "no class"),
        ([f"{number} to {number + 5}" for number in range(N)], "regression", "holds text such as '0 to 5'; regression"),
        (["a", "b"] * 24, "auto", "48 rows with a value of 'y', at least 50 needed"),
        ([None] * N, "auto", "0 rows with a value"),
        (["a", "b"] * (N // 2), "regression", "holds text such as 'a'; regression needs"),
        ([3.5] * N, "regression", "nothing to predict"),
        ([np.inf, *range(N)], "auto", "column 'y' holds infinity"),
        ([f"c{number % 600}" for number in range(6000)], "auto", "600 classes, at most 500"),
    ],
)
def test_an_unusable_target_is_refused(values: object, task: TaskChoice, fault: str) -> None:
    with pytest.raises(DataInvalid, match=fault):
        read(values, task)


@pytest.mark.parametrize(
    ("pattern", "factor", "offset"),
    [("{},5", 1.0, 0.5), ("{}.000,00 €", 1000.0, 0.0), ("EUR 1,{:03}.50", 1.0, 1000.5), ("{} %", 1.0, 0.0)],
)
@pytest.mark.parametrize("task", ["auto", "regression"])
def test_formatted_numbers_are_read(pattern: str, factor: float, offset: float, task: TaskChoice) -> None:
    target = read([pattern.format(number) for number in range(N)], task)
    np.testing.assert_allclose(target.values, factor * np.arange(N) + offset)
    assert "text is read as numbers" in target.notes[0]


def test_a_word_among_numbers_leaves_its_rows_out() -> None:
    target = read([*(f"1,{number:03}" for number in range(N)), "unknown", "unknown"])
    assert len(target.values) == N
    assert "'unknown' counts as missing (2 rows)" in target.notes[0]


def test_every_class_is_held_out() -> None:
    target = read([f"c{number % 6}" for number in range(N)])
    train, test = split(target, test_share=0.1, seed=0)
    assert sorted(np.concatenate([train, test])) == list(range(N))
    assert len(np.unique(target.values[test])) == 6


def test_a_rare_class_is_held_out_too() -> None:
    target = read(["a"] * 190 + ["b"] * 10)
    for seed in range(10):
        train, test = split(target, test_share=0.05, seed=seed)
        assert set(target.values[test]) == set(target.values[train]) == {0, 1}
        assert len(train) + len(test) == 200


def test_a_test_share_that_is_too_small_names_the_least() -> None:
    target = read([f"c{number % 12}" for number in range(N)])
    with pytest.raises(DataInvalid, match=r"--test-share 0.05 holds out 6 of 120 rows, fewer than the 12 .*least 0.1$"):
        split(target, test_share=0.05, seed=0)


def test_an_unknown_target_lists_the_known_columns() -> None:
    with pytest.raises(DataInvalid, match="no column 'z' to predict; known: x, y"):
        read_target(pd.DataFrame({"x": [1], "y": [2]}), "z", "auto")

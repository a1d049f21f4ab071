"""Tests of the user's steps around a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import ArtifactInvalid, PredictionFailed
from models.steps import Steps, load_steps

MODULE = "tests.models.test_steps"


class Doubled:
    def apply(self, batch: NDArray[Any]) -> NDArray[Any]:
        return batch * 2


class Rounded:
    def apply(self, batch: NDArray[Any]) -> NDArray[Any]:
        return batch.round()


class First:
    def apply(self, batch: Sequence[Any]) -> Sequence[Any]:
        return batch[:1]


class Nothing:
    def apply(self, batch: Sequence[Any]) -> None:
        return None


class WithArguments(Doubled):
    def __init__(self, factor: int) -> None:
        self.factor = factor


class NoStep:
    pass


def add(number: float, batch: NDArray[Any]) -> NDArray[Any]:
    return batch + number


def test_steps_run_before_and_after_the_model() -> None:
    steps = load_steps(f"{MODULE}:Doubled", f"{MODULE}:Rounded")
    answers = steps.around(add)(0.4, np.array([[1.0], [2.0]]))
    np.testing.assert_array_equal(answers, [[2.0], [4.0]])
    np.testing.assert_array_equal(load_steps("", f"{MODULE}:Doubled").around(add)(1, np.array([[1.0]])), [[4.0]])


def test_no_steps_change_nothing() -> None:
    assert not load_steps()
    assert Steps().around(add) is add


@pytest.mark.parametrize(("name", "returned"), [("First", "1 rows"), ("Nothing", "NoneType")])
def test_a_step_that_returns_another_number_of_rows_is_named(name: str, returned: str) -> None:
    steps = load_steps(f"{MODULE}:{name}")
    with pytest.raises(PredictionFailed, match=f"step '{MODULE}:{name}' returned {returned} for 2 rows"):
        steps.around(add)(1, np.array([[1.0], [2.0]]))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (f"{MODULE}:Gone", "no class 'Gone'"),
        (f"{MODULE}:NoStep", "has no method apply"),
        (f"{MODULE}:WithArguments", "cannot be made: TypeError"),
        ("nowhere.at_all:Step", "no module 'nowhere'"),
        ("nonsense", "expected package.module:Class"),
    ],
)
def test_a_step_that_is_not_there_is_refused(reference: str, message: str) -> None:
    with pytest.raises(ArtifactInvalid, match=message):
        load_steps(postprocess=reference)

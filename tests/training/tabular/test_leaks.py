"""Tests of warnings about inputs that tell the target."""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.tabular.columns import ColumnRules, read_inputs
from training.tabular.leaks import leaks
from training.tabular.target import read_target

N = 600


def warnings_of(**columns: object) -> list[str]:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"anchor": random.normal(size=N)} | columns)
    target = read_target(frame, "y", "auto")
    return leaks(read_inputs(frame.drop(columns="y"), ColumnRules(), descriptions={}), target, seed=0)


def test_an_honest_table_has_no_warnings() -> None:
    random = np.random.default_rng(1)
    values = random.integers(0, 2, N)
    assert warnings_of(y=np.where(values, "a", "b"), x=values + random.normal(size=N), city=["p", "q", "r"] * 200) == []


def test_a_copy_of_the_target_is_named() -> None:
    (warning,) = warnings_of(y=["a", "b", "c"] * 200, copied=["1st", "2nd", "3rd"] * 200)
    assert warning == "column 'copied' is a copy of the target: leave it out with --drop 'copied'"


def test_a_number_that_decides_the_class_is_named() -> None:
    amount = np.random.default_rng(2).normal(size=N)
    (warning,) = warnings_of(y=np.where(amount > 0, "late", "paid"), amount=amount)
    assert warning.startswith("column 'amount' alone decides the target")


def test_a_number_that_decides_a_number_is_named() -> None:
    price = np.random.default_rng(3).normal(100, 20, N)
    (warning,) = warnings_of(y=price, gross=1.19 * price + np.random.default_rng(4).normal(0, 1e-3, N))
    assert "'gross' alone decides the target" in warning


def test_a_category_that_decides_the_class_is_named() -> None:
    status = [f"s{number % 12}" for number in range(N)]
    (warning,) = warnings_of(y=["a" if int(each[1:]) < 5 else "b" for each in status], status=status)
    assert "'status' alone decides the target" in warning

"""Tests of hyperparameters from the command line."""

from __future__ import annotations

import pytest

from models.errors import DataInvalid
from models.recommender.registry import ALGORITHMS
from training.recommender.algorithm_settings import create, hyperparameters


@pytest.mark.parametrize("name", ALGORITHMS.names())
def test_the_defaults_are_taken(name: str) -> None:
    assert create(name, (), among=(name,), chosen=hyperparameters(name)).name == name


def test_whole_numbers_lists_and_texts_are_read() -> None:
    settings = (
        "two-level.folds=3",
        "two-level.retrievers=ease+als",
        "two-level.ranker=histogram",
        "two-level.leaves=9",
    )
    algorithm = create("two-level", settings, among=("two-level",))
    assert (algorithm.params.folds, algorithm.params.retrievers) == (3, ("ease", "als"))
    assert create("ease", ("ease.l2=3",), among=("ease",)).params.l2 == 3


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("als", "--set als: ALGORITHM.NAME=VALUE is expected"),
        ("als.factors=", "ALGORITHM.NAME=VALUE is expected"),
        ("factors=3", "ALGORITHM.NAME=VALUE is expected"),
        ("als.factors=x", "als.factors is x: a whole number is expected, such as 128"),
        ("als.factors=1.5", "als.factors is 1.5: a whole number is expected"),
        ("als.factors=0", "als.factors is 0; it must be at least 1"),
        ("als.l2=much", "als.l2 is much: a number is expected"),
        ("als.l2=-1", "als.l2 is -1; it must not be below 0"),
        ("als.l2=nan", "als.l2 is nan; it must not be below 0"),
        ("item-knn.weighting=3", "item-knn.weighting is 3: text is expected"),
    ],
)
def test_what_a_hyperparameter_cannot_be_is_refused(setting: str, fault: str) -> None:
    name = "item-knn" if setting.startswith("item") else "als"
    with pytest.raises(DataInvalid, match=fault):
        create(name, (setting,), among=(name,))


def test_a_number_below_zero_is_taken_where_the_default_is() -> None:
    assert create("fastrp", ("fastrp.degree=-0.5",), among=("fastrp",)).params.degree == -0.5

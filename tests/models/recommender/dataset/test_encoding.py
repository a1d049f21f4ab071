from __future__ import annotations

import pytest

from models.errors import InvalidInput
from models.recommender.dataset.encoding import Attribute, Encoder

ENCODER = Encoder(
    (
        Attribute("age", "number", edges=(18.0, 65.0)),
        Attribute("sex", "category", values=("f", "m")),
        Attribute("genres", "tags", values=("drama", "war")),
    )
)


def test_columns_are_named_after_values() -> None:
    assert ENCODER.names == (
        "age=..18",
        "age=18..65",
        "age=65..",
        "sex=f",
        "sex=m",
        "genres=drama",
        "genres=war",
    )


def test_each_value_sets_its_column() -> None:
    rows = ENCODER.encode(
        [{"age": 18, "sex": "m", "genres": ["war", "drama", "war"]}, {"age": "17.5", "genres": "war"}]
    )
    assert rows.toarray().tolist() == [[0, 1, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 0, 1]]


def test_missing_and_unknown_values_set_no_column() -> None:
    rows = ENCODER.encode([{"age": None, "sex": "x", "genres": []}, {"age": float("nan"), "sex": ""}, {}])
    assert rows.toarray().sum() == 0


def test_text_for_a_number_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'age' must be a number"):
        ENCODER.encode([{"age": "old"}])


def test_an_encoder_is_unchanged_after_json() -> None:
    assert Encoder.from_json(ENCODER.to_json()) == ENCODER

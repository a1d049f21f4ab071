"""Rows of JSON values are encoded; invalid values are refused with their location."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.card import Column
from models.errors import ArtifactInvalid, InvalidInput
from models.store.artifacts import Artifact
from models.tabular.row_encoder import MISSING, NONE_OF_THESE, RowEncoder

COLUMNS = (
    Column("height in cm", "number", nullable=True, required=False),
    Column("rooms", "integer"),
    Column("garden", "boolean", nullable=True, required=False),
    Column("straße", "category", categories=("a", "b", "c")),
    Column("maker", "category", categories=("x", "y"), nullable=True, required=False, accepts_unknown=True),
)
ROW = {"height in cm": 1.5, "rooms": 3, "garden": True, "straße": "b", "maker": "y"}
ENCODER = RowEncoder.for_columns(COLUMNS)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
valid_rows = st.fixed_dictionaries(
    {
        "rooms": st.integers(-(10**30), 10**30),
        "straße": st.sampled_from("abc"),
    },
    optional={
        "height in cm": st.none() | st.floats(-1e30, 1e30) | st.integers(-(10**20), 10**20),
        "garden": st.none() | st.booleans(),
        "maker": st.none() | st.text(max_size=3),
    },
)


def encode_one(**changes: object) -> list[float]:
    encoded: list[float] = ENCODER.encode([ROW | changes])[0].tolist()
    return encoded


def test_every_kind_is_encoded() -> None:
    encoded = ENCODER.encode([ROW])
    assert encoded.dtype == np.float64
    assert encoded.flags.c_contiguous
    assert encoded.tolist() == [[1.5, 3.0, 1.0, 1.0, 1.0]]


def test_a_missing_number_or_boolean_is_nan_and_a_missing_category_has_a_code() -> None:
    encoded = encode_one(**{"height in cm": None, "garden": None, "maker": None})
    assert math.isnan(encoded[0])
    assert math.isnan(encoded[2])
    assert encoded[4] == MISSING


def test_a_field_left_out_counts_as_missing() -> None:
    encoded = ENCODER.encode([{"rooms": 3, "straße": "a"}])[0]
    assert np.isnan(encoded[[0, 2]]).all()
    assert encoded[4] == MISSING


def test_an_unknown_category_is_none_of_these_when_accepted() -> None:
    assert encode_one(maker="never seen")[4] == NONE_OF_THESE


def test_an_unknown_category_is_otherwise_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"no category 'z'; known: a, b, c$") as caught:
        ENCODER.encode([ROW, ROW | {"straße": "z"}])
    assert caught.value.location == (1, "straße")


def test_a_long_list_of_categories_is_truncated_in_the_message() -> None:
    column = Column("c", "category", categories=tuple(f"c{number}" for number in range(40)))
    with pytest.raises(InvalidInput, match=r"c11 and 28 more$") as caught:
        RowEncoder.for_columns([column]).encode([{"c": "x" * 10_000}])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height in cm", math.nan),
        ("height in cm", math.inf),
        ("height in cm", -math.inf),
        ("height in cm", 1e39),
        ("height in cm", "1.5"),
        ("height in cm", True),
        ("height in cm", [1.5]),
        ("rooms", 10**400),
        ("rooms", 1.5),
        ("rooms", None),
        ("rooms", False),
        ("garden", 1),
        ("garden", "yes"),
        ("straße", None),
        ("straße", 0),
        ("straße", ["a"]),
        ("straße", {}),
        ("maker", 1),
        ("maker", ["x"]),
    ],
)
def test_an_invalid_value_is_refused_with_its_location(name: str, value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        ENCODER.encode([ROW, ROW, ROW | {name: value}])
    assert caught.value.location == (2, name)
    assert f"'{name}'" in str(caught.value)


def test_a_whole_number_written_with_a_point_is_an_integer() -> None:
    assert encode_one(rooms=4.0)[1] == 4


def test_a_huge_integer_next_to_a_missing_one_is_refused() -> None:
    encoder = RowEncoder.for_columns([Column("a", "integer", nullable=True)])
    with pytest.raises(InvalidInput) as caught:
        encoder.encode([{"a": None}, {"a": 10**400}])
    assert caught.value.location == (1, "a")


def test_no_rows_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no rows"):
        ENCODER.encode([])


def test_a_column_of_an_unsupported_kind_is_refused() -> None:
    with pytest.raises(ArtifactInvalid, match="'picture' is of kind 'image'"):
        RowEncoder.for_columns([Column("picture", "image")])


def test_the_examples_of_a_card_are_a_row(tabular_artifact: Artifact) -> None:
    card = tabular_artifact.card
    encoded = RowEncoder(card).encode([{column.name: column.example for column in card.inputs}])
    assert encoded.shape == (1, len(card.inputs))
    assert np.isfinite(encoded).all()


@pytest.mark.slow
@given(st.lists(st.dictionaries(st.sampled_from([column.name for column in COLUMNS]), json_values), max_size=4))
def test_any_json_is_encoded_or_refused(rows: list[dict[str, object]]) -> None:
    try:
        encoded = ENCODER.encode(rows)
    except InvalidInput as error:
        assert not rows or error.location  # noqa: PT017  (either outcome is right)
    else:
        assert encoded.shape == (len(rows), len(COLUMNS))
        assert not np.isinf(encoded).any()


@given(st.lists(valid_rows, min_size=1, max_size=8))
def test_the_encoding_of_a_row_is_independent_of_other_rows(rows: list[dict[str, object]]) -> None:
    together = ENCODER.encode(rows)
    single = np.concatenate([ENCODER.encode([row]) for row in rows])
    np.testing.assert_array_equal(together, single)
    np.testing.assert_array_equal(ENCODER.encode(rows[::-1]), together[::-1])

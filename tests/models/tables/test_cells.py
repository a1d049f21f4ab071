"""Tests of cells of text tables, as training and jobs read them."""

from __future__ import annotations

import math

import pytest

from models.card import Column
from models.tables.cells import number_of, reader_of, unit_of


@pytest.mark.parametrize(
    ("text", "decimal", "unit", "number"),
    [
        ("12", ".", "", 12), ("+5", ".", "", 5), (" 7.5 ", ".", "", 7.5), (".5", ".", "", 0.5),
        ("1e3", ".", "", 1000.0), ("1 234", ".", "", 1234), ("1'234", ".", "", 1234),
        ("1,234", ".", "", 1234), ("1,234,567.8", ".", "", 1234567.8),
        ("1,5", ",", "", 1.5), ("1.234,5", ",", "", 1234.5), ("-1.234", ",", "", -1234), ("12", ",", "", 12),
        ("12 %", ".", "%", 12), ("-12%", ".", "%", -12), ("$1,234.50", ".", "$", 1234.5), ("-$5", ".", "$", -5),
        ("EUR 5", ".", "EUR", 5), ("5 kg", ".", "kg", 5), ("5", ".", "kg", 5),
    ],
)  # fmt: skip
def test_numbers_are_read(text: str, decimal: str, unit: str, number: float) -> None:
    result = number_of(text, decimal=decimal, unit=unit)
    assert result is not None
    assert math.isclose(result, number)


@pytest.mark.parametrize("text", ["", "abc", "1,23", "1,2345", "12,34,567", "1.2.3", "$5", "5 kg", "--1", "1-2", "nan"])
def test_other_text_is_no_number(text: str) -> None:
    assert number_of(text) is None


@pytest.mark.parametrize(
    ("text", "unit"),
    [("$5", "$"), ("5 €", "€"), ("EUR 5", "EUR"), ("12%", "%"), ("5 kg", "kg"), ("5", ""), ("A12", ""), ("x", "")],
)
def test_units_are_found(text: str, unit: str) -> None:
    assert unit_of(text) == unit


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        (Column("a", "number"), "1,234", 1234),
        (Column("a", "number"), "no number", "no number"),
        (Column("a", "integer"), "5.0", 5),
        (Column("a", "integer", nullable=True, missing_words=("unknown",)), " unknown ", None),
        (Column("a", "number", nullable=True), "NA", None),
        (Column("a", "boolean"), "Yes", True),
        (Column("a", "category", categories=("x", "NA"), nullable=True), " NA ", "NA"),
        (Column("a", "date", date_format="%d.%m.%Y"), "31.12.2023", "2023-12-31"),
        (Column("a", "date"), "2023-12-31 10:00", "2023-12-31T10:00:00Z"),
        (Column("a", "date"), "soon", "soon"),
        (Column("a", "text"), "  as it is", "  as it is"),
    ],
)
def test_a_cell_is_read_by_the_rules_of_its_column(column: Column, text: str, value: object) -> None:
    assert reader_of(column)(text) == value

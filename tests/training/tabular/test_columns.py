"""Tests of columns: types, and reasons for columns that are not used."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from models.card import Column
from models.errors import DataInvalid
from models.tables.dates import PARTS
from models.tabular.row_encoder import MISSING, NONE_OF_THESE, RowEncoder
from tests.training.example_tables import mixed_frame
from training.tabular.columns import ColumnRules, Inputs, read_inputs

N = 60


def read(rules: ColumnRules | None = None, **columns: object) -> Inputs:
    return read_inputs(
        pd.DataFrame({"anchor": np.arange(N) % 7 * 1.5} | columns), rules or ColumnRules(), descriptions={}
    )


def column(values: object, rules: ColumnRules | None = None) -> Column:
    (_, result) = read(rules, x=values).columns
    return result


def reason(values: object, name: str = "x") -> str:
    inputs = read(None, **{name: values})
    assert [column.name for column in inputs.columns] == ["anchor"]
    ((dropped, why),) = inputs.dropped
    assert dropped == name
    return why


def test_every_kind_of_column_is_detected() -> None:
    inputs = read_inputs(mixed_frame().drop(columns="bought"), ColumnRules(), descriptions={"city": "where"})
    assert {c.name: (c.kind, c.nullable, c.required) for c in inputs.columns} == {
        "größe in cm": ("number", True, False),
        "no.of.visits": ("integer", True, False),
        "vip": ("boolean", True, False),
        "city": ("category", True, False),
        "is_new": ("boolean", False, True),
        "joined": ("date", False, True),
    }
    assert set(dict(inputs.dropped)) == {"customer_id", "notes", "country", "fax"}
    by_name = {c.name: c for c in inputs.columns}
    assert by_name["city"].categories == ("Aachen", "Bonn, am Rhein", "Köln")
    assert by_name["city"].description == "where"
    assert by_name["vip"].description == "true means 'yes'"
    assert inputs.rows.shape == (400, 5 + len(PARTS))
    assert inputs.rows.dtype == np.float64


def test_the_examples_are_one_row_of_the_table() -> None:
    frame = mixed_frame().drop(columns="bought")
    inputs = read_inputs(frame, ColumnRules(), descriptions={})
    example = RowEncoder.for_columns(inputs.columns).encode([{c.name: c.example for c in inputs.columns}])[0]
    assert np.isfinite(example).all()
    assert (inputs.rows == example).all(axis=1).any()


def test_limits_are_those_of_the_data() -> None:
    result = column([-3] + [4] * (N - 2) + [9])
    assert (result.kind, result.minimum, result.maximum) == ("integer", -3.0, 9.0)
    assert column(np.arange(N) % 5 / 2).maximum == 2.0


@pytest.mark.parametrize("words", [("yes", "no"), ("True", "False"), ("Y", "N"), ("t", "f"), ("YES", "no")])
def test_words_for_true_and_false_are_booleans(words: tuple[str, str]) -> None:
    inputs = read(x=list(words) * (N // 2))
    assert inputs.columns[1].kind == "boolean"
    assert inputs.rows[:2, 1].tolist() == [1, 0]


def test_decimals_categoricals_and_object_columns_are_read() -> None:
    assert column([Decimal("1.5"), Decimal("2")] * (N // 2)).kind == "number"
    assert column(pd.Categorical(["a", "b"] * (N // 2))).categories == ("a", "b")
    assert column(pd.Series([1, None] * (N // 2), dtype=object)).kind == "integer"


def test_zero_and_one_stay_integers() -> None:
    assert column([0, 1] * (N // 2)).kind == "integer"


def test_a_constant_with_gaps_is_used_for_the_gaps() -> None:
    result = column([1.5, None] * (N // 2))
    assert (result.kind, result.nullable) == ("number", True)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([1] * N, "it is constant: 1"),
        ([None] * N, "all values are missing"),
        ([f"text {number}" for number in range(N)], "an id: every row has a different value"),
        ([f"text {number % 40}" for number in range(N)], "an id: 40 distinct values in 60 rows"),
        ([f"{10**19 + number}" for number in range(N)], "an id: every row has a different value"),
        (list(range(100, 100 + N)), "row numbers"),
        ([[1, 2]] * N, "several types"),
        ([1, "a"] * (N // 2), "several types"),
    ],
)
def test_unusable_columns_are_dropped_with_a_reason(values: object, why: str) -> None:
    assert why in reason(values)


@pytest.mark.parametrize("name", ["id", "PassengerId", "customer_id", "user.id", "uuid", "ID"])
def test_unique_integers_named_as_an_id_are_dropped(name: str) -> None:
    assert reason(np.arange(N) * 37, name) == "an id: every row has a different value"


def test_other_unique_integers_are_used() -> None:
    assert column(np.arange(N) * 37).kind == "integer"
    assert read(None, amount_paid=np.arange(N) * 37).columns[1].kind == "integer"


def test_numbers_mixed_with_text_are_reported() -> None:
    values = [str(number * 1.5) for number in range(N * 3)]
    for row in range(0, N * 3, 10):
        values[row] = f"n/k {row}"
    inputs = read_inputs(pd.DataFrame({"a": np.arange(N * 3) % 5, "x": values}), ColumnRules(), descriptions={})
    assert "mostly numbers, but also text such as 'n/k 0'" in dict(inputs.dropped)["x"]


@pytest.mark.parametrize("number", [np.inf, -np.inf, 1e39])
def test_numbers_that_cannot_be_served_are_refused_with_the_column(number: float) -> None:
    with pytest.raises(DataInvalid, match="column 'x' holds infinity or a number over"):
        read(x=[number] + [1.0] * (N - 1))


def test_columns_are_dropped_on_demand_and_unknown_ones_refused() -> None:
    inputs = read(ColumnRules(drop=("x",)), x=np.arange(N) % 3)
    assert inputs.dropped == (("x", "dropped by --drop"),)
    with pytest.raises(DataInvalid, match="no column 'y' to drop; known: anchor, x"):
        read(ColumnRules(drop=("y",)), x=np.arange(N) % 3)


def test_a_table_without_a_usable_column_says_why() -> None:
    with pytest.raises(DataInvalid, match="no usable column is left: a: it is constant: 1"):
        read_inputs(pd.DataFrame({"a": [1] * N}), ColumnRules(), descriptions={})


def test_rare_categories_are_encoded_as_unknown_if_those_are_accepted() -> None:
    values = ["a"] * 30 + ["b"] * 26 + ["rare"] * 3 + [None]
    accepting = read(ColumnRules(accept_unknown=True), x=values)
    assert accepting.columns[1].categories == ("a", "b")
    assert accepting.columns[1].accepts_unknown
    assert accepting.rows[[0, 30, 56, 59], 1].tolist() == [0, 1, NONE_OF_THESE, MISSING]
    rejecting = read(x=values)
    assert rejecting.columns[1].categories == ("a", "b", "rare")
    assert not rejecting.columns[1].accepts_unknown


@pytest.mark.parametrize(
    ("pattern", "value", "decimal", "unit"),
    [
        ("{},5", 7.5, ",", ""),
        ("1,{:03}", 1007.0, ".", ""),
        ("1.{:03},25", 1007.25, ",", ""),
        ("${}.50", 7.5, ".", "$"),
        ("{} %", 7.0, ".", "%"),
        ("EUR {}", 7.0, ".", "EUR"),
    ],
)
def test_formatted_numbers_are_numbers(pattern: str, value: float, decimal: str, unit: str) -> None:
    inputs = read(x=[pattern.format(number) for number in range(N)])
    result = inputs.columns[1]
    assert (result.decimal, result.unit) == (decimal, unit)
    assert inputs.rows[7, 1] == value
    assert dict(inputs.notes)["x"].startswith("text is read as numbers")


def test_a_word_among_numbers_counts_as_missing() -> None:
    values = [str(number) for number in range(N * 5)]
    values[3] = "unknown"
    inputs = read_inputs(pd.DataFrame({"a": np.arange(N * 5) % 5, "x": values}), ColumnRules(), descriptions={})
    result = inputs.columns[1]
    assert (result.kind, result.nullable, result.missing_words) == ("integer", True, ("unknown",))
    assert np.isnan(inputs.rows[3, 1])
    assert "'unknown' counts as missing (1 rows)" in dict(inputs.notes)["x"]


def test_codes_with_leading_zeros_are_categories() -> None:
    assert column(["01067", "10115", "20095"] * (N // 3)).categories == ("01067", "10115", "20095")


@pytest.mark.parametrize(
    ("values", "date_format"),
    [
        (["2020-01-31", "2021-02-28"], ""),
        (["2020-01-01T10:00", "2020-02-01 11:00:00"], ""),
        (["2023/01/31", "2022/12/01"], "%Y/%m/%d"),
        (["3.4.2020", "31.12.2021"], "%d.%m.%Y"),
        (["1/31/2023", "2/1/2023"], "%m/%d/%Y"),
        (["31/1/2023", "2/1/2023"], "%d/%m/%Y"),
        (["Jan 31, 2023", "Feb 1, 2023"], "%b %d, %Y"),
        (["31/01/2023 14:05", "01/02/2023 09:00"], "%d/%m/%Y %H:%M"),
    ],
)
def test_text_with_dates_is_a_date(values: list[str], date_format: str) -> None:
    inputs = read(x=values * (N // 2))
    result = inputs.columns[1]
    assert (result.kind, result.date_format) == ("date", date_format)
    assert inputs.rows.shape[1] == 1 + len(PARTS)


def test_dates_of_a_typed_table_are_read() -> None:
    assert column(pd.date_range("2020-01-01", periods=N)).kind == "date"
    assert column(pd.date_range("2020-01-01", periods=N, tz="Europe/Berlin")).kind == "date"
    assert column([date(2020, 1, 1 + number % 28) for number in range(N)]).kind == "date"


def test_many_categories_are_used_with_unknown_ones_accepted() -> None:
    inputs = read_inputs(
        pd.DataFrame({"a": np.arange(3_000) % 5, "x": [f"shop {number % 300}" for number in range(3_000)]}),
        ColumnRules(),
        descriptions={},
    )
    result = inputs.columns[1]
    assert (result.kind, len(result.categories), result.accepts_unknown) == ("category", 300, True)


def test_free_text_is_used() -> None:
    result = column([f"the parcel number {number} came late" for number in range(N)])
    assert result.kind == "text"


def test_integers_that_json_clients_cannot_send_become_numbers() -> None:
    inputs = read(x=[1_700_000_000_000_000_000 + 1_000 * number for number in range(N)])
    assert inputs.columns[1].kind == "number"
    assert "integers over 9,007,199,254,740,991 are read as float64" in dict(inputs.notes)["x"]


def test_integers_that_become_equal_are_counted() -> None:
    inputs = read(x=[1_700_000_000_000_000_000 + 3 * number for number in range(N)])
    assert "of 60 distinct values become equal" in dict(inputs.notes)["x"]

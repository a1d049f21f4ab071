"""Tests of reading ids and times: every unit, notation and Arrow type gives the same value, or is refused by name."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.tables.columns import id_texts, unix_seconds

# 2024-01-02 in UTC.
SECONDS = 1_704_153_600


def column(values: list[Any], kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize("power", [0, 3, 6, 9])
@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string(), pa.large_string(), pa.decimal128(20, 0)])
def test_numbers_are_read_in_the_unit_of_their_size(power: int, kind: pa.DataType) -> None:
    number = SECONDS * 10**power
    values = column([number, None]).cast(kind, safe=False)
    assert unix_seconds(values).tolist()[0] == SECONDS
    assert np.isnan(unix_seconds(values)[1])


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02",
        "2024-01-02T00:00:00",
        "2024-01-02 00:00",
        "2024-01-02T00:00:00Z",
        "2024-01-02T00:00:00.999999999Z",
        "2024-01-02 00:00:00 UTC",
        "2024-01-02 00:00:00.25 UTC",
        "2024-01-02T02:00:00+02:00",
        "2024-01-02T02:00:00.5+0200",
        " 2024-01-02 ",
        "20240102",
        "20240102T000000Z",
    ],
)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_iso_text_is_read_in_every_notation(text: str, kind: pa.DataType) -> None:
    assert unix_seconds(column([text], kind)).tolist() == [SECONDS]
    assert unix_seconds(column([text]).dictionary_encode()).tolist() == [SECONDS]


def test_a_column_may_mix_notations_of_text_and_missing_words() -> None:
    texts = ["2024-01-02", "2024-01-02T02:00:00+02:00", "2024-01-02 00:00:00 UTC", "", "NULL", None]
    times = unix_seconds(column(texts))
    assert times[:3].tolist() == [SECONDS] * 3
    assert np.isnan(times[3:]).all()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_timestamps_of_arrow_are_read_in_every_unit_and_zone(unit: str, zone: str | None) -> None:
    moment = datetime(2024, 1, 2, tzinfo=UTC if zone else None)
    assert unix_seconds(column([moment], pa.timestamp(unit, zone))).tolist() == [SECONDS]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_dates_are_midnight(kind: pa.DataType) -> None:
    assert unix_seconds(column([date(2024, 1, 2)], kind)).tolist() == [SECONDS]


def test_dates_written_as_numbers_are_dates() -> None:
    assert unix_seconds(column([20240102, 20240131])).tolist() == [SECONDS, SECONDS + 29 * 86_400]
    # There is no February 30: these numbers are seconds.
    assert unix_seconds(column([20240102, 20240230])).tolist() == [20240102, 20240230]


def test_zero_fits_every_unit() -> None:
    assert unix_seconds(column([0, SECONDS * 1000])).tolist() == [0, SECONDS]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([SECONDS, SECONDS * 1000], r"mixes units: row 1 holds \d+ \(seconds\), row 2 holds \d+ \(milliseconds\)"),
        ([SECONDS * 10**6, SECONDS * 10**9], r"\(microseconds\), row 2 .* \(nanoseconds\)"),
        ([20240131123000], "holds 20240131123000 in row 1, which is in the 26th century as milliseconds"),
        (["2024-01-02", "noon"], "holds 'noon' in row 2"),
        ([float("inf")], "holds an infinite number in row 1"),
        ([time(12)], r"is time64\[us\]"),
        ([True], "holds true and false"),
        ([[1]], "is list"),
    ],
)
def test_what_is_no_time_is_refused_with_its_row(values: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unix_seconds(column(values))


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([12, None], pa.int64(), ["12", None]),
        ([12.0, None], pa.float64(), ["12", None]),
        ([float("nan"), 3.0], pa.float32(), [None, "3"]),
        ([Decimal("12.00")], pa.decimal128(10, 2), ["12"]),
        (["12.0", "13.0", ""], pa.string(), ["12", "13", None]),
        (["1.0", "1.5"], pa.string(), ["1.0", "1.5"]),
        (["007", " a ", "7"], pa.large_string(), ["007", "a", "7"]),
        (["NULL"], pa.string_view(), ["NULL"]),
        ([b"a"], pa.binary(), ["a"]),
    ],
)
def test_ids_are_text(values: list[Any], kind: pa.DataType, expected: list[str | None]) -> None:
    assert id_texts(column(values, kind)).to_pylist() == expected
    if not pa.types.is_string_view(kind):
        assert id_texts(column(values, kind).dictionary_encode()).to_pylist() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5], "holds 1.5: ids are text or whole numbers"),
        ([2.0**60], r"holds 1.15\d+e\+18: ids are text or whole numbers, exact as floating point"),
        ([[1]], "is list"),
        ([b"\xff"], "is binary"),
    ],
)
def test_what_is_no_id_is_refused(values: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        id_texts(column(values))

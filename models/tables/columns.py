"""Read columns of Arrow tables as ids and as times. Training and the feature store share it.

Only functions import pyarrow: a service without a recommender starts without it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import MISSING_WORDS
from models.tables.dates import seconds_of

# A number of this size or above is not in seconds, milliseconds, microseconds: each unit ends where the next begins, in
# 1973, so that a unit covers the times from 1973 to 5138. Smaller numbers fit every unit.
_UNIT_ENDS = (1e11, 1e14, 1e17)
_UNITS = (("seconds", 1.0), ("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9))
_ANY_UNIT_BELOW = 1e8
# 20240131123000 and 20240131123000000, which are digits of a date, are in these years as milliseconds and microseconds.
_DIGITS_OF_DATES = (18_900_000_000, 21_100_000_000)  # the years 2568 to 2638
_MAX_EXACT = 2**53

_WHOLE = r"^[+-]?\d+\.0+$"
_NUMBER = r"^[+-]?\d+(\.\d*)?$"
_ZONE_NAME = r"\s*(Z|z|UTC|utc|GMT)$"
_FRACTION = r"(:\d\d)[.,]\d+"


def plain(column: Any) -> Any:  # Any: pyarrow.ChunkedArray
    """Return a column whose text is of type string, and whose dictionaries are replaced by their values."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(column.type) or types.is_run_end_encoded(column.type):
        column = column.cast(column.type.value_type)
    is_text = types.is_large_string(column.type) or types.is_string_view(column.type)
    return column.cast(pa.string()) if is_text else column


def id_texts(column: Any) -> Any:  # Any: pyarrow.ChunkedArray
    """Return ids as text without surrounding blanks, null where a cell is empty.

    pandas writes the whole numbers of a column with a gap as 12.0: such numbers, and text when all of it is such
    numbers, are the ids "12". Other text stays as it is: "007" is not "7". Raises ValueError for other types.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        column = plain(column)
        if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
            column = _whole_numbers(column)
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"is {column.type}: ids are text or whole numbers") from error
    if pa.types.is_string(column.type) and are_whole_numbers(texts):
        texts = pc.replace_substring_regex(texts, r"\.0+$", "")
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def are_whole_numbers(texts: Any) -> bool:  # Any: pyarrow.ChunkedArray
    """Return whether all text is whole numbers with decimal places, such as 12.0; empty cells do not count."""
    import pyarrow.compute as pc

    present = texts.filter(pc.fill_null(pc.not_equal(texts, ""), False))
    # Most columns are decided by their first ids.
    parts = (present.slice(0, 10), present)
    return len(present) > 0 and all(pc.all(pc.match_substring_regex(part, _WHOLE)).as_py() for part in parts)


def unix_seconds(column: Any) -> NDArray[np.float64]:  # Any: pyarrow.ChunkedArray
    """Return times as whole Unix seconds, NaN where a cell is empty.

    Timestamps and dates of Arrow, ISO 8601 text (without an offset: UTC), and numbers: seconds, milliseconds,
    microseconds or nanoseconds by their size, or dates as 20240131. Raises ValueError that names the first row, from 1,
    that is no time, and for numbers in several units.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    types = pa.types
    column = plain(column)
    if types.is_boolean(column.type):
        raise ValueError("holds true and false")
    if types.is_timestamp(column.type) or types.is_date(column.type):
        return _floats(column.cast(pa.timestamp("s"), safe=False).cast(pa.int64()))
    if types.is_string(column.type):
        texts = pc.utf8_trim_whitespace(column)
        missing = pc.is_in(texts, pa.array(sorted(MISSING_WORDS)))
        texts = pc.if_else(pc.fill_null(missing, True), pa.scalar(None, pa.string()), texts)
        if not pc.all(pc.match_substring_regex(texts, _NUMBER)).as_py():
            return _seconds_of_text(texts)
        column = texts
    try:
        return _seconds_of_numbers(_floats(column))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"is {column.type}") from error


def _whole_numbers(column: Any) -> Any:  # Any: pyarrow.ChunkedArray
    import pyarrow as pa

    values = _floats(column)
    present = values[~np.isnan(values)]
    if wrong := next((value for value in present if not value.is_integer() or abs(value) > _MAX_EXACT), None):
        raise ValueError(f"holds {wrong:.17g}: ids are text or whole numbers, exact as floating point")
    return pa.chunked_array([pa.array(np.nan_to_num(values).astype(np.int64), mask=np.isnan(values))])


def _seconds_of_text(texts: Any) -> NDArray[np.float64]:  # Any: pyarrow.ChunkedArray
    import pyarrow as pa
    import pyarrow.compute as pc

    bare = pc.replace_substring_regex(pc.replace_substring_regex(texts, _ZONE_NAME, ""), _FRACTION, r"\1")
    for kind in (pa.timestamp("s"), pa.timestamp("s", tz="UTC")):
        try:
            return _floats(bare.cast(kind).cast(pa.int64()))
        except pa.ArrowInvalid:
            continue
    # Notations that Arrow does not read, and columns of several notations.
    seconds = {text: None if text is None else seconds_of(text) for text in pc.unique(bare).to_pylist()}
    if wrong := next((text for text, value in seconds.items() if text is not None and value is None), None):
        row = bare.to_pylist().index(wrong)
        raise ValueError(f"holds '{texts[row].as_py()[:40]}' in row {row + 1}")
    return np.array([np.nan if text is None else seconds[text] for text in bare.to_pylist()], np.float64)


def _seconds_of_numbers(values: NDArray[np.float64]) -> NDArray[np.float64]:
    sizes = np.abs(np.nan_to_num(values, posinf=np.inf, neginf=np.inf))
    if np.isinf(sizes).any():
        raise ValueError(f"holds an infinite number in row {int(np.argmax(sizes)) + 1}")
    if (dates := _compact_dates(values)) is not None:
        return dates
    rows = np.flatnonzero(sizes >= _ANY_UNIT_BELOW)
    units = np.searchsorted(_UNIT_ENDS, sizes[rows], side="right")
    if not len(rows):
        return np.floor(values)
    if (other := units != units[0]).any():
        first, second = rows[0], rows[int(np.argmax(other))]
        names = [_UNITS[units[0]][0], _UNITS[units[int(np.argmax(other))]][0]]
        raise ValueError(
            f"mixes units: row {first + 1} holds {values[first]:.0f} ({names[0]}), "
            f"row {second + 1} holds {values[second]:.0f} ({names[1]})"
        )
    name, scale = _UNITS[units[0]]
    seconds: NDArray[np.float64] = np.floor(values / scale)
    first, last = _DIGITS_OF_DATES
    if scale > 1 and (digits := (seconds >= first) & (seconds < last)).any():
        row = int(np.argmax(digits))
        raise ValueError(f"holds {values[row]:.0f} in row {row + 1}, which is in the 26th century as {name}")
    return seconds


def _compact_dates(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the seconds of dates that are written as numbers, 20240131; None when one of the values is no date."""
    present = values[~np.isnan(values)]
    if not len(present) or not ((present >= 1900_01_01) & (present <= 2100_12_31) & (present % 1 == 0)).all():
        return None
    whole = present.astype(np.int64)
    year, month, day = whole // 10_000, whole // 100 % 100, whole % 100
    if not ((month >= 1) & (month <= 12) & (day >= 1)).all():
        return None
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    if (days.astype("datetime64[M]") != months).any():
        return None
    seconds = np.full(len(values), np.nan)
    seconds[~np.isnan(values)] = days.astype("datetime64[s]").astype(np.int64)
    return seconds


def _floats(column: Any) -> NDArray[np.float64]:  # Any: pyarrow.ChunkedArray
    import pyarrow as pa

    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)

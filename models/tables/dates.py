"""Dates as numbers: Unix seconds, and the parts of a date that a model takes."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

# The columns that `date_parts` makes of one date.
PARTS = ("days", "year", "month", "day", "weekday", "hour", "year_sin", "year_cos", "week_sin", "week_cos")

_DAY_S = 86_400.0
_YEAR_DAYS = 365.2425
_MAX_CHARACTERS = 40


def seconds_of(text: str, date_format: str = "") -> float | None:
    """Return the Unix seconds of a date in ISO 8601, or in `date_format` of `strptime`; None when it is neither.

    A time without an offset is in UTC. A leap second counts as the second before it.
    """
    text = text.strip()
    if not 4 < len(text) <= _MAX_CHARACTERS:
        return None
    try:
        moment = datetime.fromisoformat(text.upper().replace(":60", ":59"))
    except ValueError:
        if not date_format:
            return None
        try:
            moment = datetime.strptime(text, date_format)
        except ValueError:
            return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH).total_seconds()


def iso_date(seconds: float) -> str:
    """Return Unix seconds as a date in ISO 8601, with the time unless it is midnight."""
    moment = np.datetime64(round(seconds * 1e6), "us").astype("datetime64[s]")
    text = str(moment)
    return text.removesuffix("T00:00:00") if text.endswith("T00:00:00") else text + "Z"


def date_parts(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return PARTS of Unix seconds (N), as (N, 10). A missing date is NaN in all parts."""
    missing = np.isnan(seconds)
    moments = np.where(missing, 0.0, seconds)
    stamps = np.floor(moments).astype("datetime64[s]")
    days = stamps.astype("datetime64[D]")
    months = stamps.astype("datetime64[M]")
    in_days = moments / _DAY_S
    # Day 0 of Unix time is a Thursday.
    weekday = (days.astype(np.int64) + 3) % 7
    in_year = 2 * np.pi * (in_days % _YEAR_DAYS) / _YEAR_DAYS
    in_week = 2 * np.pi * ((in_days + 3) % 7) / 7
    parts = np.column_stack(
        [
            in_days,
            stamps.astype("datetime64[Y]").astype(np.int64) + 1970,
            months.astype(np.int64) % 12 + 1,
            (days - months.astype("datetime64[D]")).astype(np.int64) + 1,
            weekday,
            moments % _DAY_S // 3600,
            np.sin(in_year), np.cos(in_year), np.sin(in_week), np.cos(in_week),
        ]
    ).astype(np.float64)  # fmt: skip
    parts[missing] = np.nan
    return parts


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

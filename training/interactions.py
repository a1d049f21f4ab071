"""Tables of interactions, users and items, from CSV, parquet or RecBole's atomic files, as one data set with ids.

Knows columns and ids, never algorithms. Ids stay text: "007" is not 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.errors import DataInvalid
from models.recommender.dataset import Dataset, Rows, from_triplets
from models.recommender.encoding import Encoder
from training.attributes import encode_attributes
from training.tables import Table

# As seconds this is the year 5138.
_MILLISECONDS_FROM = 1e11


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns. Empty names are columns that are not there.

    `weight` says how much an event counts (plays, quantity); `rating` is an opinion, kept but not used as a weight.
    """

    user: str = "user_id"
    item: str = "item_id"
    time: str = ""
    weight: str = ""
    rating: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    """A data set with the ids of its rows and columns, titles of its items, and how attributes became features."""

    dataset: Dataset
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    user_encoder: Encoder
    item_encoder: Encoder


def build_corpus(
    events: Table,
    columns: Columns,
    *,
    users: Table | None = None,
    items: Table | None = None,
    user_attributes: Sequence[str] = (),
    item_attributes: Sequence[str] = (),
) -> Corpus:
    """Join the three tables. Users and items that have attributes but no events are kept: they can be served.

    Without named attributes all fitting columns of the two tables are used. Raises DataInvalid.
    """
    user_rows, user_ids = _number(events, columns.user, users)
    item_rows, item_ids = _number(events, columns.item, items)
    user_encoder, user_features = encode_attributes(users, columns.user, user_ids, user_attributes)
    item_encoder, item_features = encode_attributes(
        items, columns.item, item_ids, item_attributes, without=(columns.title,)
    )
    weights = _numbers(events, columns.weight)
    if weights is not None and (weights <= 0).any():
        row = int(np.argmax(weights <= 0))
        raise DataInvalid(
            f"column '{columns.weight}' of '{events.name}' holds {weights[row]:g} in row {row + 1}: weights are above "
            "zero; leave such rows out"
        )
    ratings = _numbers(events, columns.rating)
    dataset = from_triplets(
        user_rows,
        item_rows,
        shape=(len(user_ids), len(item_ids)),
        weights=None if weights is None else weights.astype(np.float32),
        times=_times(events, columns.time),
        ratings=None if ratings is None else ratings.astype(np.float32),
        user_features=user_features,
        item_features=item_features,
    )
    titles = _titles(items, columns, item_ids)
    return Corpus(dataset, tuple(user_ids), tuple(item_ids), titles, user_encoder, item_encoder)


def ids_of(table: Table, column: str) -> pa.ChunkedArray:
    """A column of ids as text without surrounding blanks. Raises DataInvalid naming the first empty one."""
    values = table.column(column)
    if pa.types.is_floating(values.type):
        raise DataInvalid(f"column '{column}' of '{table.name}' holds fractions: ids are text or whole numbers")
    try:
        texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataInvalid(f"column '{column}' of '{table.name}' is {values.type}: ids are text or numbers") from error
    empty = pc.fill_null(pc.equal(texts, ""), True).to_numpy()
    if empty.any():
        raise DataInvalid(f"column '{column}' of '{table.name}' is empty in row {int(np.argmax(empty)) + 1}")
    return texts


def _number(events: Table, column: str, attributes: Table | None) -> tuple[Rows, list[str]]:
    """Rows numbered by first appearance in the events, then in the attributes."""
    encoded = ids_of(events, column).combine_chunks().dictionary_encode()
    known: list[str] = encoded.dictionary.to_pylist()
    if attributes is not None:
        listed = ids_of(attributes, column)
        counts = listed.value_counts()
        if len(counts) != len(listed):
            twice = next(entry["values"].as_py() for entry in counts if entry["counts"].as_py() > 1)
            raise DataInvalid(f"'{attributes.name}' has more than one row for {column} '{twice}'; keep one")
        already = set(known)
        known += [each for each in listed.to_pylist() if each not in already]
    return encoded.indices.to_numpy().astype(np.int64), known


def _numbers(table: Table, column: str) -> NDArray[np.float64] | None:
    if not column:
        return None
    values = table.column(column)
    try:
        numbers: NDArray[np.float64] = values.cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataInvalid(f"column '{column}' of '{table.name}' is not numeric: {_short(error)}") from error
    if not np.isfinite(numbers).all():
        row = int(np.argmax(~np.isfinite(numbers)))
        raise DataInvalid(
            f"column '{column}' of '{table.name}' has no number in row {row + 1}; fill it or drop the row"
        )
    return numbers


def _times(table: Table, column: str) -> NDArray[np.int64] | None:
    """Unix seconds, from numbers (seconds, or milliseconds when they are that large), timestamps or ISO 8601 text."""
    if not column:
        return None
    values = table.column(column)
    if pa.types.is_string(values.type) or pa.types.is_temporal(values.type):
        try:
            values = values.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataInvalid(
                f"column '{column}' of '{table.name}' holds no times: {_short(error)}; use Unix seconds or ISO 8601"
            ) from error
        if values.null_count:
            raise DataInvalid(f"column '{column}' of '{table.name}' has no time in {values.null_count:,} rows")
        return np.asarray(values.to_numpy(), np.int64)
    numbers = _numbers(table, column)
    if numbers is None:
        return None
    return (numbers / 1000 if np.median(numbers) > _MILLISECONDS_FROM else numbers).astype(np.int64)


def _titles(items: Table | None, columns: Columns, item_ids: Sequence[str]) -> tuple[str, ...]:
    if items is None or not columns.title:
        return ("",) * len(item_ids)
    texts: list[Any] = items.column(columns.title).cast(pa.string()).to_pylist()  # Any: str or None
    by_id = dict(zip(ids_of(items, columns.item).to_pylist(), texts, strict=True))
    return tuple(by_id.get(each) or "" for each in item_ids)


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200]

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

from models.errors import DataInvalid
from models.recommender.dataset.dataset import Dataset, Rows, from_triplets
from models.recommender.dataset.encoding import Encoder
from models.recommender.dataset.feature_files import TIME
from models.recommender.dataset.temporal_features import ALWAYS
from training.recommender.attributes import encode_attributes
from training.tables import Table
from training.values import numbers, unix_seconds


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

    A column `time` in the tables of users and items makes their attributes dated: a row is true from then on, and what
    is learned from is what was true then. Without named attributes all fitting columns of the two are used. Raises
    DataInvalid.
    """
    for name in (columns.user, columns.item):
        events.column(name)
    times = unix_seconds(events, columns.time) if columns.time else None
    newest = None if times is None or not len(times) else int(times.max())
    user_rows, user_ids = _number(events, columns.user, users, newest)
    item_rows, item_ids = _number(events, columns.item, items, newest)
    of_users = encode_attributes(users, columns.user, user_ids, user_attributes, newest=newest)
    of_items = encode_attributes(
        items, columns.item, item_ids, item_attributes, without=(columns.title,), newest=newest
    )
    weights = numbers(events, columns.weight) if columns.weight else None
    if weights is not None and (weights <= 0).any():
        row = int(np.argmax(weights <= 0))
        raise DataInvalid(
            f"column '{columns.weight}' of '{events.name}' holds {weights[row]:g} in row {row + 1}: weights are above "
            "zero; leave such rows out"
        )
    ratings = numbers(events, columns.rating) if columns.rating else None
    dataset = from_triplets(
        user_rows,
        item_rows,
        shape=(len(user_ids), len(item_ids)),
        weights=None if weights is None else weights.astype(np.float32),
        times=times,
        ratings=None if ratings is None else ratings.astype(np.float32),
        user_features=of_users.features,
        item_features=of_items.features,
        dated_users=of_users.dated,
        dated_items=of_items.dated,
    )
    titles = _titles(items, columns, item_ids)
    return Corpus(dataset, tuple(user_ids), tuple(item_ids), titles, of_users.encoder, of_items.encoder)


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
        raise DataInvalid(
            f"column '{column}' of '{table.name}' is empty in row {int(np.argmax(empty)) + 1}; leave such rows out"
        )
    return texts


def _number(events: Table, column: str, attributes: Table | None, newest: int | None) -> tuple[Rows, list[str]]:
    """Rows numbered by first appearance in the events, then in the attributes."""
    encoded = ids_of(events, column).combine_chunks().dictionary_encode()
    known: list[str] = encoded.dictionary.to_pylist()
    if attributes is not None:
        listed = ids_of(attributes, column)
        _check_rows(attributes, column, listed, newest)
        already = set(known)
        known += [each for each in dict.fromkeys(listed.to_pylist()) if each not in already]
    return encoded.indices.to_numpy().astype(np.int64), known


def _check_rows(attributes: Table, column: str, ids: pa.ChunkedArray, newest: int | None) -> None:
    counts = ids.value_counts()
    is_dated = TIME in attributes.data.column_names
    if len(counts) == len(ids) or (is_dated and newest is not None):
        return
    twice = next(entry["values"].as_py() for entry in counts if entry["counts"].as_py() > 1)
    remedy = (
        "name the column of times of the interactions, to tell which was true then"
        if is_dated
        else f"add a column '{TIME}' that says from when on each is true"
    )
    raise DataInvalid(f"'{attributes.name}' has more than one row for {column} '{twice}'; keep one, or {remedy}")


def _titles(items: Table | None, columns: Columns, item_ids: Sequence[str]) -> tuple[str, ...]:
    if items is None or not columns.title:
        return ("",) * len(item_ids)
    texts: list[Any] = items.column(columns.title).cast(pa.string()).to_pylist()  # Any: str or None
    ids = ids_of(items, columns.item).to_pylist()
    is_dated = TIME in items.data.column_names
    order = np.argsort(unix_seconds(items, TIME, empty=ALWAYS), kind="stable") if is_dated else range(len(ids))
    by_id = {ids[row]: texts[row] for row in order}
    return tuple(by_id.get(each) or "" for each in item_ids)

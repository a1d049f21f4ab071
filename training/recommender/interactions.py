"""Join tables of interactions, users and items into one data set with ids. Ids stay text: "007" is not 7."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.errors import DataInvalid
from models.recommender.dataset.dataset import Dataset, Rows, from_triplets
from models.recommender.dataset.encoding import Encoder
from models.recommender.dataset.feature_files import TIME
from models.recommender.dataset.temporal_features import ALWAYS
from training.column_values import numbers, unix_seconds
from training.recommender.attributes import encode_attributes
from training.recommender.ids import ids_of
from training.tables import Table


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns of events and items. An empty name means that there is no such column.

    `weight` is how much an event counts, such as plays or quantity. `rating` is stored, but not used as a weight.
    """

    user: str = "user_id"
    item: str = "item_id"
    time: str = ""
    weight: str = ""
    rating: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    """A data set, the ids of its rows and columns, the titles of its items, and the encoders of attributes."""

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
    """Join the three tables. Users and items that have attributes but no events are included: they can be served.

    A column `time` in the tables of users or items dates their attributes: a row is valid from that time on, and
    training uses the attributes that were valid at the time of an interaction. Without named attributes every usable
    column is used. Raises DataInvalid.
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
    dataset = from_triplets(
        user_rows,
        item_rows,
        shape=(len(user_ids), len(item_ids)),
        weights=_weights(events, columns.weight) if columns.weight else None,
        times=times,
        ratings=numbers(events, columns.rating).astype(np.float32) if columns.rating else None,
        user_features=of_users.features,
        item_features=of_items.features,
        dated_users=of_users.dated,
        dated_items=of_items.dated,
    )
    titles = _titles(items, columns, item_ids)
    return Corpus(dataset, tuple(user_ids), tuple(item_ids), titles, of_users.encoder, of_items.encoder)


def _weights(events: Table, column: str) -> NDArray[np.float32]:
    weights = numbers(events, column)
    if (weights <= 0).any():
        row = int(np.argmax(weights <= 0))
        raise DataInvalid(
            f"column '{column}' of '{events.name}' holds {weights[row]:g} in row {row + 1}: weights are above zero; "
            "remove such rows"
        )
    return weights.astype(np.float32)


def _number(events: Table, column: str, attributes: Table | None, newest: int | None) -> tuple[Rows, list[str]]:
    """Number ids by first appearance in the events, then in the attributes. Return the events' numbers, and the ids."""
    encoded = ids_of(events, column).combine_chunks().dictionary_encode()
    ids: list[str] = encoded.dictionary.to_pylist()
    if attributes is not None:
        attribute_ids = ids_of(attributes, column)
        _check_rows(attributes, column, attribute_ids, newest)
        event_ids = set(ids)
        ids += [id_ for id_ in dict.fromkeys(attribute_ids.to_pylist()) if id_ not in event_ids]
    return encoded.indices.to_numpy().astype(np.int64), ids


def _check_rows(attributes: Table, column: str, ids: pa.ChunkedArray, newest: int | None) -> None:
    counts = ids.value_counts()
    is_dated = TIME in attributes.data.column_names
    if len(counts) == len(ids) or (is_dated and newest is not None):
        return
    repeated = next(entry["values"].as_py() for entry in counts if entry["counts"].as_py() > 1)
    remedy = (
        "name the column of times of the interactions"
        if is_dated
        else f"add a column '{TIME}' that says from when on each is valid"
    )
    raise DataInvalid(f"'{attributes.name}' has more than one row for {column} '{repeated}'; keep one, or {remedy}")


def _titles(items: Table | None, columns: Columns, item_ids: Sequence[str]) -> tuple[str, ...]:
    if items is None or not columns.title:
        return ("",) * len(item_ids)
    texts: list[Any] = items.column(columns.title).cast(pa.string()).to_pylist()  # Any: str or None
    ids = ids_of(items, columns.item).to_pylist()
    is_dated = TIME in items.data.column_names
    order = np.argsort(unix_seconds(items, TIME, empty=ALWAYS), kind="stable") if is_dated else range(len(ids))
    by_id = {ids[row]: texts[row] for row in order}
    return tuple(by_id.get(id_) or "" for id_ in item_ids)

"""Tables for the recommender's feature store: attributes of users and items, and groups of users."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from models.errors import DataInvalid
from models.recommender.dataset.feature_files import FOLDER, GROUPS, ITEMS, TIME, USERS
from models.recommender.dataset.temporal_features import ALWAYS
from training.column_values import unix_seconds
from training.recommender.ids import ids_of
from training.tables import TAG_SEPARATOR, Table

_AGE_BANDS = (18, 25, 35, 45, 50, 56)


@dataclass(frozen=True, slots=True)
class FeatureTables:
    """The tables of one artifact. A table that the data lacks is None."""

    users: pa.Table | None = None
    items: pa.Table | None = None
    groups: pa.Table | None = None


def feature_tables(
    users: Table | None, items: Table | None, groups: Table | None, *, user: str, item: str, title: str = ""
) -> FeatureTables:
    """Return the tables with ids as text, in columns named as the store reads them. Raises DataInvalid."""
    return FeatureTables(
        users=None if users is None else _attributes(users, user, "user_id"),
        items=None if items is None else _attributes(items, item, "item_id", without=title),
        groups=None if groups is None else memberships(groups, user=user),
    )


def memberships(table: Table, *, user: str) -> pa.Table:
    """Return columns user_id, group and kind from a table with a column of users and columns of groups.

    A table with a column `group`, and optionally `kind`, is read as it is. Otherwise every other column is one kind.
    """
    if "group" in table.data.column_names:
        kind = table.data.column("kind") if "kind" in table.data.column_names else pa.nulls(len(table), pa.string())
        return _memberships(ids_of(table, user), {"": (table.data.column("group"), kind)})
    kinds = {name: table.column(name) for name in table.data.column_names if name != user}
    if not kinds:
        raise DataInvalid(f"'{table.name}' has no column of groups, only '{user}'")
    return _memberships(ids_of(table, user), {name: (column, None) for name, column in kinds.items()})


def age_and_occupation(users: Table) -> pa.Table:
    """Return the groups of MovieLens' users: their occupation, and their age band as MovieLens defines it."""
    ages = np.asarray(users.column("age").cast(pa.float64()).to_numpy())
    names = [f"{low}-{high - 1}" for low, high in itertools.pairwise(_AGE_BANDS)]
    labels = [f"under {_AGE_BANDS[0]}", *names, f"{_AGE_BANDS[-1]} and over"]
    bands = pa.array([labels[band] for band in np.searchsorted(_AGE_BANDS, ages, side="right")])
    return _memberships(
        ids_of(users, "user_id"), {"age": (bands, None), "occupation": (users.column("occupation"), None)}
    )


def write(tables: FeatureTables, folder: Path) -> None:
    """Write the tables into the artifact's folder."""
    (folder / FOLDER).mkdir()
    for name, table in ((USERS, tables.users), (ITEMS, tables.items), (GROUPS, tables.groups)):
        if table is not None:
            pyarrow.parquet.write_table(table, folder / FOLDER / name)


def _memberships(users: pa.ChunkedArray, kinds: Mapping[str, tuple[pa.Array, pa.Array | None]]) -> pa.Table:
    parts = []
    for kind, (groups, own_kind) in kinds.items():
        kind_column = pa.array([kind] * len(users)) if own_kind is None else own_kind.cast(pa.string())
        parts.append(pa.table({"user_id": users, "group": groups.cast(pa.string()), "kind": kind_column}))
    table = pa.concat_tables(parts)
    group = pc.utf8_trim_whitespace(table.column("group"))
    return table.set_column(1, "group", group).filter(pc.fill_null(pc.not_equal(group, ""), False))


def _attributes(table: Table, id_column: str, name: str, *, without: str = "") -> pa.Table:
    columns = {name: ids_of(table, id_column)}
    for column in table.data.column_names:
        if column not in (id_column, without):
            columns[column] = _times(table) if column == TIME else _typed(table, column)
    return pa.table(columns)


def _times(table: Table) -> pa.Array:
    seconds = unix_seconds(table, TIME, empty=ALWAYS)
    return pa.array(seconds, mask=seconds == ALWAYS)


def _typed(table: Table, name: str) -> pa.ChunkedArray:
    """Return a column as numbers or lists where its text can be read so, else as text."""
    column = table.column(name)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    blank = pc.equal(pc.utf8_trim_whitespace(column), "")
    filled = pc.if_else(pc.fill_null(blank, True), pa.scalar(None, column.type), column)
    try:
        return filled.cast(pa.float64())
    except pa.ArrowInvalid:
        pass
    if name in table.tags:
        return pc.split_pattern(filled, " ")
    if pc.any(pc.match_substring(filled, TAG_SEPARATOR)).as_py():
        return pc.split_pattern_regex(pc.utf8_trim_whitespace(filled), rf"\s*{re.escape(TAG_SEPARATOR)}\s*")
    return filled

"""Writes the tables that the recommender's feature store reads: attributes of users and items, and groups of users.

Knows tables and files, no model.
"""

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
from training.recommender.interactions import ids_of
from training.tables import TAG_SEPARATOR, Table
from training.values import unix_seconds

_AGE_BANDS = (18, 25, 35, 45, 50, 56)


@dataclass(frozen=True, slots=True)
class FeatureTables:
    """What is to be written; None for what is not there."""

    users: pa.Table | None = None
    items: pa.Table | None = None
    groups: pa.Table | None = None


def feature_tables(
    users: Table | None, items: Table | None, groups: Table | None, *, user: str, item: str, title: str = ""
) -> FeatureTables:
    """The tables, with ids as text under the names that the store reads. Raises DataInvalid."""
    return FeatureTables(
        users=None if users is None else _attributes(users, user, "user_id"),
        items=None if items is None else _attributes(items, item, "item_id", without=title),
        groups=None if groups is None else memberships(groups, user=user),
    )


def memberships(table: Table, *, user: str) -> pa.Table:
    """Columns user_id, group and kind of a table with a column of users and one or more of groups.

    A table with columns `group` and, if wanted, `kind` is taken as it is; otherwise every other column is a kind.
    """
    if "group" in table.data.column_names:
        kind = table.data.column("kind") if "kind" in table.data.column_names else pa.nulls(len(table), pa.string())
        return _memberships(ids_of(table, user), {"": (table.data.column("group"), kind)})
    kinds = {name: table.column(name) for name in table.data.column_names if name != user}
    if not kinds:
        raise DataInvalid(f"'{table.name}' has no column of groups beside '{user}'")
    return _memberships(ids_of(table, user), {name: (column, None) for name, column in kinds.items()})


def age_and_occupation(users: Table) -> pa.Table:
    """Memberships of MovieLens' users: their occupation, and an age band as MovieLens draws them."""
    ages = np.asarray(users.column("age").cast(pa.float64()).to_numpy())
    names = [f"{low}-{high - 1}" for low, high in itertools.pairwise(_AGE_BANDS)]
    labels = [f"under {_AGE_BANDS[0]}", *names, f"{_AGE_BANDS[-1]} and over"]
    bands = pa.array([labels[place] for place in np.searchsorted(_AGE_BANDS, ages, side="right")])
    return _memberships(
        ids_of(users, "user_id"), {"age": (bands, None), "occupation": (users.column("occupation"), None)}
    )


def write(tables: FeatureTables, folder: Path) -> None:
    """Write the tables that are there beside an artifact's files in `folder`."""
    (folder / FOLDER).mkdir()
    for name, table in ((USERS, tables.users), (ITEMS, tables.items), (GROUPS, tables.groups)):
        if table is not None:
            pyarrow.parquet.write_table(table, folder / FOLDER / name)


def _memberships(users: pa.ChunkedArray, kinds: Mapping[str, tuple[pa.Array, pa.Array | None]]) -> pa.Table:
    parts = []
    for kind, (groups, own_kind) in kinds.items():
        said = pa.array([kind] * len(users)) if own_kind is None else own_kind.cast(pa.string())
        parts.append(pa.table({"user_id": users, "group": groups.cast(pa.string()), "kind": said}))
    table = pa.concat_tables(parts)
    group = pc.utf8_trim_whitespace(table.column("group"))
    return table.set_column(1, "group", group).filter(pc.fill_null(pc.not_equal(group, ""), False))


def _attributes(table: Table, id_column: str, name: str, *, without: str = "") -> pa.Table:
    columns = {name: ids_of(table, id_column)}
    for each in table.data.column_names:
        if each not in (id_column, without):
            columns[each] = _moments(table) if each == TIME else _typed(table, each)
    return pa.table(columns)


def _moments(table: Table) -> pa.Array:
    seconds = unix_seconds(table, TIME, empty=ALWAYS)
    return pa.array(seconds, mask=seconds == ALWAYS)


def _typed(table: Table, name: str) -> pa.ChunkedArray:
    """Numbers as numbers, lists as lists, everything else as text."""
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

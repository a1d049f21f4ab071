"""The parquet files of a feature store.

    users.parquet    user_id, [time], one column per attribute
    items.parquet    item_id, [time], one column per attribute; the first column of lists holds the categories, the
                     first column with "year" in its name the year
    groups.parquet   user_id, group, [kind]: one row per membership

`time` is Unix time, a timestamp or ISO 8601, as `models.tables.columns` reads it. Of several rows with one id the
latest that is not in the future applies. A row in the future applies from its time on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactInvalid, text_of
from models.recommender.dataset.feature_tables import (
    EMPTY_TABLE,
    FeatureSnapshot,
    FeatureTable,
    NumberColumn,
    TextColumn,
    UserGroups,
)
from models.recommender.dataset.ids import IdIndex
from models.tables.columns import id_texts, unix_seconds

FOLDER = "features"
USERS, ITEMS, GROUPS = "users.parquet", "items.parquet", "groups.parquet"
TIME = "time"


def read_feature_tables(folder: Path, *, now: float | None = None) -> FeatureSnapshot:
    """Read the tables of `folder` at `now` (Unix seconds, default the current time). A missing file is an empty table.

    Raise ArtifactInvalid.
    """
    moment = time.time() if now is None else now
    try:
        users, items, groups = (_table(folder / name) for name in (USERS, ITEMS, GROUPS))
        user_table, users_change = _feature_table(users, "user_id", moment)
        item_table, items_change = _feature_table(items, "item_id", moment)
        return FeatureSnapshot(
            users=user_table,
            items=item_table,
            groups=UserGroups() if groups is None else _groups(groups),
            has_users=users is not None,
            changes_at=min(users_change, items_change),
        )
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, MemoryError, NotImplementedError) as error:
        # These include the errors of pyarrow: NotImplementedError for a missing cast, MemoryError for a wrong length.
        reason = (text_of(error).splitlines() or [type(error).__name__])[0]
        raise ArtifactInvalid(f"the feature tables cannot be read: {reason[:200]}") from error


def _table(path: Path) -> Any:  # Any: pyarrow has no types
    if not path.is_file():
        return None
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


def _feature_table(table: Any, id_column: str, now: float) -> tuple[FeatureTable, float]:  # Any: pyarrow.Table
    """Return the table at `now` and the time of its next change."""
    if table is None:
        return EMPTY_TABLE, math.inf
    table = _with_ids(table, id_column)
    times = _seconds(table.column(TIME)) if TIME in table.column_names else np.zeros(len(table))
    table = _latest(table, id_column, times, now)
    ids = table.column(id_column).to_pylist()
    names = [name for name in table.column_names if name not in (id_column, TIME)]
    features = FeatureTable(IdIndex.of(ids), {name: _column(table.column(name)) for name in names})
    return features, float(times[times > now].min(initial=math.inf))


def _with_ids(table: Any, id_column: str) -> Any:  # Any: pyarrow.Table
    """Return the table with ids as text, without the rows that have none."""
    ids = id_texts(table.column(id_column))
    return table.set_column(table.column_names.index(id_column), id_column, ids).filter(ids.is_valid())


def _latest(table: Any, id_column: str, times: NDArray[np.float64], now: float) -> Any:  # Any: pyarrow.Table
    import pyarrow as pa

    ids = table.column(id_column).combine_chunks().dictionary_encode()
    keys: NDArray[np.int64] = ids.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    valid = np.flatnonzero(times <= now)
    order = valid[np.lexsort((valid, times[valid], keys[valid]))]
    is_last = np.ones(len(order), bool)
    is_last[:-1] = keys[order][1:] != keys[order][:-1]
    return table.take(pa.array(np.sort(order[is_last])))


def _seconds(column: Any) -> NDArray[np.float64]:  # Any: pyarrow.ChunkedArray
    try:
        # A row without a time has always been valid.
        return np.nan_to_num(unix_seconds(column), nan=0.0)
    except ValueError as error:
        raise ValueError(f"column '{TIME}' {error}; use Unix time, timestamps or ISO 8601") from error


def _column(column: Any) -> NumberColumn | TextColumn:  # Any: pyarrow.ChunkedArray
    import pyarrow as pa

    dtype = column.type
    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype):
        if pa.types.is_boolean(dtype):
            column = column.cast(pa.int8())
        return NumberColumn(np.asarray(column.cast(pa.float64()).to_numpy(), np.float64))
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        return _text_column((row or [] for row in column.to_pylist()), is_list=True)
    return _text_column(
        ([] if text is None or text == "" else [str(text)] for text in column.to_pylist()), is_list=False
    )


def _text_column(rows: Iterable[Sequence[str]], *, is_list: bool) -> TextColumn:
    codes_by_text: dict[str, int] = {}
    codes: list[int] = []
    ends = [0]
    for row in rows:
        codes += [codes_by_text.setdefault(str(text), len(codes_by_text)) for text in row if text is not None]
        ends.append(len(codes))
    return TextColumn(tuple(codes_by_text), np.array(codes, np.int32), np.array(ends, np.int64), is_list)


def _groups(table: Any) -> UserGroups:  # Any: pyarrow.Table
    table = _with_ids(table, "user_id")
    kinds = table.column("kind").to_pylist() if "kind" in table.column_names else [""] * table.num_rows
    members: dict[tuple[str, str], dict[str, None]] = {}
    for user, group, kind in zip(
        table.column("user_id").to_pylist(), table.column("group").to_pylist(), kinds, strict=True
    ):
        members.setdefault((str(kind or ""), str(group)), {})[user] = None
    ordered = sorted(members)
    return UserGroups(
        names=tuple(group for _, group in ordered),
        kinds=tuple(kind for kind, _ in ordered),
        members=tuple(tuple(members[each]) for each in ordered),
    )

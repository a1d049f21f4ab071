"""Features of users and items from parquet files, as arrays, read again when the files change. Knows files and columns.

    users.parquet    user_id, [time], one column per attribute
    items.parquet    item_id, [time], one column per attribute; the first column of lists is the item's categories, the
                     first whose name holds "year" its year
    groups.parquet   user_id, group, [kind]: one row per membership

`time` is Unix seconds or a timestamp: of several rows with one id the latest that is not in the future counts. A row
that is in the future counts from its time on.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactInvalid
from models.recommender.dataset.encoding import Value
from models.recommender.dataset.ids import IdIndex

log = logging.getLogger("makunouchi.features")

FOLDER = "features"
USERS, ITEMS, GROUPS = "users.parquet", "items.parquet", "groups.parquet"
TIME = "time"


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers, NaN where there is none."""

    values: NDArray[np.float64]

    def at(self, row: int) -> Value:
        value = float(self.values[row])
        if not np.isfinite(value):
            return None
        return int(value) if value.is_integer() else value


@dataclass(frozen=True, slots=True)
class Words:
    """A column of any number of words per row: `codes[ends[row]:ends[row + 1]]` point into `known`."""

    known: tuple[str, ...]
    codes: NDArray[np.int32]
    ends: NDArray[np.int64]
    is_list: bool

    def at(self, row: int) -> Value:
        words = [self.known[code] for code in self.codes[self.ends[row] : self.ends[row + 1]].tolist()]
        if self.is_list:
            return words
        return words[0] if words else None


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Columns by name, and the row of each id."""

    ids: IdIndex
    columns: Mapping[str, Numbers | Words]

    def values(self, key: str) -> dict[str, Value] | None:
        """The features of one id, None when it has no row."""
        row = self.ids.row(key)
        return None if row is None else {name: column.at(row) for name, column in self.columns.items()}

    def category_column(self) -> str | None:
        """The column of categories: the first of lists, else the first of words."""
        words = {name: column for name, column in self.columns.items() if isinstance(column, Words)}
        return next((name for name, column in words.items() if column.is_list), next(iter(words), None))

    def year_column(self) -> str | None:
        """The column of years."""
        return next((name for name, each in self.columns.items() if "year" in name and isinstance(each, Numbers)), None)


EMPTY = FeatureTable(IdIndex.of(()), {})


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups and who is in them. `members[g]` are ids."""

    names: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    members: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Features:
    """All tables, as they were at one moment."""

    users: FeatureTable = EMPTY
    items: FeatureTable = EMPTY
    groups: Groups = field(default_factory=Groups)
    has_users: bool = False
    changes_at: float = math.inf
    """Unix seconds at which the first row that is in the future now will count."""


class FeatureStore:
    """The tables of a folder. `current` looks at the files at most every `ttl_s` seconds, and reads them in a thread
    of its own when they have changed or the time of a row has come; until that is done, and when they cannot be read,
    the old tables go on. `check` raises ArtifactInvalid for tables that cannot be used. `now` tells Unix seconds."""

    def __init__(
        self,
        folder: Path | None,
        *,
        ttl_s: float = 60.0,
        check: Callable[[Features], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._check = check
        self._ttl_s = ttl_s
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._marks = _marks(folder)
        self._features = self._read_now()
        self._looked = clock()
        self._reading: threading.Thread | None = None

    @classmethod
    def holding(cls, features: Features) -> FeatureStore:
        """A store of tables that are in memory already."""
        store = cls(None)
        store._features = features
        return store

    def is_of(self, folder: Path) -> bool:
        """Whether the tables are those of `folder`."""
        return self._folder == folder

    def current(self) -> Features:
        """The tables now."""
        if self._folder is not None and self._clock() - self._looked >= self._ttl_s:
            self._look()
        return self._features

    def wait(self, timeout_s: float = 60.0) -> None:
        """Return when a read that was started has ended."""
        reading = self._reading
        if reading is not None:
            reading.join(timeout_s)

    def _look(self) -> None:
        with self._lock:
            if self._clock() - self._looked < self._ttl_s:
                return
            self._looked = self._clock()
            marks = _marks(self._folder)
            is_due = marks != self._marks or self._now() >= self._features.changes_at
            if not is_due or (self._reading is not None and self._reading.is_alive()):
                return
            self._reading = threading.Thread(target=self._read, args=(marks,), name="features", daemon=True)
            self._reading.start()

    def _read(self, marks: tuple[tuple[str, int, int], ...]) -> None:
        try:
            features = self._read_now()
        except ArtifactInvalid as error:
            log.warning("features not reloaded: %s", error)
            return
        self._features, self._marks = features, marks
        log.info("features reloaded: %d users, %d items", len(features.users.ids), len(features.items.ids))

    def _read_now(self) -> Features:
        features = read(self._folder, now=self._now()) if self._folder is not None else Features()
        self._check(features)
        return features


def read(folder: Path, *, now: float | None = None) -> Features:
    """Read the tables of `folder` as they are at `now`, Unix seconds, or this moment; a file that is not there is an
    empty table. Raises ArtifactInvalid."""
    moment = time.time() if now is None else now
    try:
        users, items, groups = (_table(folder / name) for name in (USERS, ITEMS, GROUPS))
        people, users_change = _feature_table(users, "user_id", moment)
        things, items_change = _feature_table(items, "item_id", moment)
        return Features(
            users=people,
            items=things,
            groups=Groups() if groups is None else _groups(groups),
            has_users=users is not None,
            changes_at=min(users_change, items_change),
        )
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, MemoryError, NotImplementedError) as error:
        # pyarrow's own errors are these: a type that has no cast is "not implemented", a length that lies is memory.
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise ArtifactInvalid(f"the feature tables cannot be read: {told[:200]}") from error


def _marks(folder: Path | None) -> tuple[tuple[str, int, int], ...]:
    if folder is None:
        return ()
    found = []
    for name in (USERS, ITEMS, GROUPS):
        try:
            stat = (folder / name).stat()
        except OSError:
            continue
        found.append((name, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _table(path: Path) -> Any:  # Any: pyarrow has no types
    if not path.is_file():
        return None
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


def _feature_table(table: Any, id_column: str, now: float) -> tuple[FeatureTable, float]:  # Any: pyarrow.Table
    """The table at `now`, and when it will be another one."""
    if table is None:
        return EMPTY, math.inf
    # A row of nobody is no row.
    table = table.filter(table.column(id_column).is_valid())
    times = _seconds(table.column(TIME)) if TIME in table.column_names else np.zeros(len(table))
    table = _latest(table, id_column, times, now)
    ids = [str(each) for each in table.column(id_column).to_pylist()]
    names = [name for name in table.column_names if name not in (id_column, TIME)]
    found = FeatureTable(IdIndex.of(ids), {name: _column(table.column(name)) for name in names})
    return found, float(times[times > now].min(initial=math.inf))


def _latest(table: Any, id_column: str, times: NDArray[np.float64], now: float) -> Any:  # Any: pyarrow.Table
    import pyarrow as pa

    ids = table.column(id_column).cast(pa.string()).combine_chunks().dictionary_encode()
    keys: NDArray[np.int64] = ids.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    valid = np.flatnonzero(times <= now)
    order = valid[np.lexsort((valid, times[valid], keys[valid]))]
    is_last = np.ones(len(order), bool)
    is_last[:-1] = keys[order][1:] != keys[order][:-1]
    return table.take(pa.array(np.sort(order[is_last])))


def _seconds(column: Any) -> NDArray[np.float64]:  # Any: pyarrow.ChunkedArray
    import pyarrow as pa

    if pa.types.is_temporal(column.type):
        column = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    # A row without a time has been true always.
    return np.nan_to_num(np.asarray(column.cast(pa.float64()).to_numpy(), np.float64), nan=0.0)


def _column(column: Any) -> Numbers | Words:  # Any: pyarrow.ChunkedArray
    import pyarrow as pa

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        if pa.types.is_boolean(kind):
            column = column.cast(pa.int8())
        return Numbers(np.asarray(column.cast(pa.float64()).to_numpy(), np.float64))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _words((row or [] for row in column.to_pylist()), is_list=True)
    return _words(([] if text is None or text == "" else [str(text)] for text in column.to_pylist()), is_list=False)


def _words(rows: Iterable[Sequence[str]], *, is_list: bool) -> Words:
    known: dict[str, int] = {}
    codes: list[int] = []
    ends = [0]
    for row in rows:
        codes += [known.setdefault(str(word), len(known)) for word in row if word is not None]
        ends.append(len(codes))
    return Words(tuple(known), np.array(codes, np.int32), np.array(ends, np.int64), is_list)


def _groups(table: Any) -> Groups:  # Any: pyarrow.Table
    kinds = table.column("kind").to_pylist() if "kind" in table.column_names else [""] * table.num_rows
    members: dict[tuple[str, str], dict[str, None]] = {}
    for user, group, kind in zip(
        table.column("user_id").to_pylist(), table.column("group").to_pylist(), kinds, strict=True
    ):
        members.setdefault((str(kind or ""), str(group)), {})[str(user)] = None
    ordered = sorted(members)
    return Groups(
        names=tuple(group for _, group in ordered),
        kinds=tuple(kind for kind, _ in ordered),
        members=tuple(tuple(members[each]) for each in ordered),
    )

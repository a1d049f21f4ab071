"""Columns of a table of users or items as features: which columns, of what kind, with what values.

Knows values, never what they are good for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from models.errors import DataInvalid
from models.recommender.dataset.encoding import Attribute, Encoder
from models.recommender.dataset.feature_files import TIME
from models.recommender.dataset.temporal_features import ALWAYS, TemporalFeatures
from training.tables import TAG_SEPARATOR, Table
from training.values import unix_seconds

_BINS = 8
_MAX_VALUES = 500
_FEW_VALUES = 10


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoder, and what it makes of a table: one row of features per id, or all rows with their moments."""

    encoder: Encoder = Encoder(())  # noqa: RUF009  (frozen, so shared safely)
    features: sparse.csr_array | None = None
    dated: TemporalFeatures | None = None


def encode_attributes(
    table: Table | None,
    id_column: str,
    ids: Sequence[str],
    names: Sequence[str] = (),
    *,
    without: Sequence[str] = (),
    newest: int | None = None,
) -> Encoded:
    """An encoder learned from `table`, and its features for `ids` in their order; those without a row have none.

    With `names` exactly these columns are used; otherwise all but the id, those in `without`, and those that nearly
    name the row (more than half of the values occur once). No table or no usable column: an empty encoder, no features.
    A column `time` dates the rows, where there is a `newest` moment to learn until, Unix seconds: no value that
    appears later is learned. Raises DataInvalid.
    """
    if table is None:
        return Encoded()
    since = _since(table, newest)
    left_out = (id_column, TIME, *without)
    chosen = list(names) or [name for name in table.data.column_names if name not in left_out]
    if TIME in chosen:
        raise DataInvalid(f"column '{TIME}' of '{table.name}' says from when on a row is true: it is no attribute")
    columns = {name: _values(table, name) for name in chosen}
    is_known = np.ones(len(table), bool) if since is None or newest is None else since <= newest
    learned = {
        name: _learn(name, [values[row] for row in np.flatnonzero(is_known)], is_asked=bool(names))
        for name, values in columns.items()
    }
    encoder = Encoder(tuple(attribute for attribute in learned.values() if attribute is not None))
    if not encoder.attributes:
        return Encoded()
    keys = [str(key).strip() for key in table.column(id_column).to_pylist()]
    rows = [{each.name: columns[each.name][row] for each in encoder.attributes} for row in range(len(keys))]
    if since is None:
        by_id = dict(zip(keys, rows, strict=True))
        return Encoded(encoder, features=encoder.encode([by_id.get(each, {}) for each in ids]))
    places = {each: place for place, each in enumerate(ids)}
    owners = np.array([places[key] for key in keys], np.int64)
    return Encoded(encoder, dated=TemporalFeatures(owners, since, encoder.encode(rows)))


def _since(table: Table, newest: int | None) -> NDArray[np.int64] | None:
    """The moment of each row; None where rows have none, or nothing else has."""
    if TIME not in table.data.column_names or newest is None:
        return None
    return unix_seconds(table, TIME, empty=ALWAYS)


def _values(table: Table, name: str) -> list[Any]:  # Any: numbers, texts or lists of texts, by column
    column = table.column(name)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return [None if each is None else [str(tag) for tag in each] for each in column.to_pylist()]
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return [None if each is None or not np.isfinite(each) else each for each in column.to_pylist()]
    texts = column.cast(pa.string()).to_pylist()
    if any(TAG_SEPARATOR in each for each in texts if each):
        return [None if each is None else [part.strip() for part in each.split(TAG_SEPARATOR)] for each in texts]
    if name not in table.tags and (numbers := _all_numbers(texts)):
        return numbers
    return list(texts)


def _all_numbers(texts: Sequence[str | None]) -> list[Any] | None:
    try:
        return [None if text is None or not text.strip() else float(text) for text in texts]
    except ValueError:
        return None


def _learn(name: str, values: Sequence[Any], *, is_asked: bool) -> Attribute | None:
    present = [value for value in values if value is not None and value != ""]
    if not present:
        if is_asked:
            raise DataInvalid(f"column '{name}' holds no values at all; leave it out")
        return None
    is_list = isinstance(present[0], list)
    if not is_list and isinstance(present[0], (int, float)) and len(set(present)) > _FEW_VALUES:
        borders = np.unique(np.quantile(np.asarray(present, float), np.linspace(0, 1, _BINS + 1)[1:-1]))
        return Attribute(name, "number", edges=tuple(float(border) for border in borders))
    counts = Counter(str(tag) for value in present for tag in (value if is_list else [value]) if tag != "")
    once = sum(count == 1 for count in counts.values())
    if not is_asked and not is_list and once > len(present) / 2:
        return None
    common = sorted(value for value, _ in counts.most_common(_MAX_VALUES))
    return Attribute(name, "tags" if is_list else "category", values=tuple(common))

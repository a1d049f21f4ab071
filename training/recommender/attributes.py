"""Encode columns of a table of users or items as features: select columns, their kinds and their values."""

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
from training.column_values import unix_seconds
from training.recommender.ids import ids_of
from training.tables import TAG_SEPARATOR, Table

_BINS = 8
_MAX_VALUES = 500
_FEW_VALUES = 10


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoder and the features of a table: one row per id, or every row with the time from which it is valid."""

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
    """Learn an encoder from `table`, and encode the rows of `ids` in their order. Ids without a row get no features.

    With `names` exactly these columns are used. Otherwise all columns are used except the id, those in `without`, and
    those that nearly identify the row (more than half of the values occur once). Without a table or a usable column the
    encoder is empty. With `newest`, in Unix seconds, a column `time` says from when each row is valid, and values that
    appear after `newest` are not learned. Raises DataInvalid.
    """
    if table is None:
        return Encoded()
    since = _since(table, newest)
    columns = {name: _values(table, name) for name in _attribute_columns(table, id_column, names, without)}
    is_known = np.ones(len(table), bool) if since is None or newest is None else since <= newest
    attributes = [
        _learn(name, [values[row] for row in np.flatnonzero(is_known)], is_required=bool(names))
        for name, values in columns.items()
    ]
    encoder = Encoder(tuple(attribute for attribute in attributes if attribute is not None))
    if not encoder.attributes:
        return Encoded()
    keys = ids_of(table, id_column).to_pylist()
    rows = [
        {attribute.name: columns[attribute.name][row] for attribute in encoder.attributes} for row in range(len(keys))
    ]
    if since is None:
        by_id = dict(zip(keys, rows, strict=True))
        return Encoded(encoder, features=encoder.encode([by_id.get(id_, {}) for id_ in ids]))
    positions = {id_: position for position, id_ in enumerate(ids)}
    owners = np.array([positions[key] for key in keys], np.int64)
    return Encoded(encoder, dated=TemporalFeatures(owners, since, encoder.encode(rows)))


def _attribute_columns(table: Table, id_column: str, names: Sequence[str], without: Sequence[str]) -> Sequence[str]:
    if TIME in names:
        raise DataInvalid(f"column '{TIME}' of '{table.name}' says from when a row is valid: it is no attribute")
    excluded = (id_column, TIME, *without)
    return names or [name for name in table.data.column_names if name not in excluded]


def _since(table: Table, newest: int | None) -> NDArray[np.int64] | None:
    """Return the time from which each row is valid; None when rows or interactions have no times."""
    if TIME not in table.data.column_names or newest is None:
        return None
    return unix_seconds(table, TIME, empty=ALWAYS)


def _values(table: Table, name: str) -> list[Any]:  # Any: numbers, texts or lists of texts, by column
    column = table.column(name)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return [None if value is None else [str(tag) for tag in value] for value in column.to_pylist()]
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return [None if value is None or not np.isfinite(value) else value for value in column.to_pylist()]
    texts = column.cast(pa.string()).to_pylist()
    if any(TAG_SEPARATOR in text for text in texts if text):
        return [None if text is None else [tag.strip() for tag in text.split(TAG_SEPARATOR)] for text in texts]
    if name not in table.tags and (numbers := _all_numbers(texts)):
        return numbers
    return list(texts)


def _all_numbers(texts: Sequence[str | None]) -> list[Any] | None:
    try:
        return [None if text is None or not text.strip() else float(text) for text in texts]
    except ValueError:
        return None


def _learn(name: str, values: Sequence[Any], *, is_required: bool) -> Attribute | None:
    present = [value for value in values if value is not None and value != ""]
    if not present:
        if is_required:
            raise DataInvalid(f"column '{name}' holds no values; leave it out")
        return None
    is_list = isinstance(present[0], list)
    if not is_list and isinstance(present[0], (int, float)) and len(set(present)) > _FEW_VALUES:
        edges = np.unique(np.quantile(np.asarray(present, float), np.linspace(0, 1, _BINS + 1)[1:-1]))
        return Attribute(name, "number", edges=tuple(edges.tolist()))
    counts = Counter(str(tag) for value in present for tag in (value if is_list else [value]) if tag != "")
    unique = sum(count == 1 for count in counts.values())
    if not is_required and not is_list and unique > len(present) / 2:
        return None
    common = sorted(value for value, _ in counts.most_common(_MAX_VALUES))
    return Attribute(name, "tags" if is_list else "category", values=tuple(common))

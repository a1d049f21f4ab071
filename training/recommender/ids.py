"""Ids of users and items in tables: one notation in every table, and the join of tables by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.card import MISSING_WORDS
from models.errors import DataInvalid
from models.limits import MAX_ID_CHARACTERS
from models.tables.columns import are_whole_numbers, id_texts
from training.report import note
from training.tables import Table


def ids_of(table: Table, column: str) -> pa.ChunkedArray:
    """Return a column of ids as text, as `id_texts` does. Raises DataInvalid with the row of an empty id."""
    try:
        texts = id_texts(table.column(column))
    except ValueError as error:
        raise DataInvalid(f"column '{column}' of '{table.name}' {error}") from error
    if texts.null_count:
        row = int(np.argmax(texts.is_null().to_numpy()))
        raise DataInvalid(f"column '{column}' of '{table.name}' is empty in row {row + 1}; remove such rows")
    return texts


def with_ids(table: Table, columns: Sequence[str]) -> Table:
    """Return a table whose columns of ids are text. Rows with an id that requests cannot name are left out.

    A line on the console names the ids that are written in another way, left out, or that may mean a missing value.
    """
    for column in [name for name in columns if name in table.data.column_names]:
        texts = ids_of(table, column)
        where = f"column '{column}' of '{table.name}'"
        before = table.column(column)
        if pa.types.is_floating(before.type) or (pa.types.is_string(before.type) and are_whole_numbers(before)):
            note(f"{where}: whole numbers as {before[0].as_py()}, read as the id '{texts[0].as_py()}'")
        data = table.data.set_column(table.data.column_names.index(column), column, texts)
        is_short = pc.less_equal(pc.utf8_length(texts), MAX_ID_CHARACTERS)
        if left_out := len(table) - int(pc.sum(is_short).as_py() or 0):
            data = data.filter(is_short)
            note(
                f"{where}: {left_out:,} rows left out, because their ids are longer than the "
                f"{MAX_ID_CHARACTERS} characters that a request may have"
            )
        if not data.num_rows:
            raise DataInvalid(f"{where} has no id of at most {MAX_ID_CHARACTERS} characters")
        _warn(where, texts)
        table = replace(table, data=data)
    return table


def _warn(where: str, texts: pa.ChunkedArray) -> None:
    missing = texts.filter(pc.is_in(texts, pa.array(sorted(MISSING_WORDS))))
    for entry in missing.value_counts().to_pylist():
        note(
            f"warning: {where}: '{entry['values']}' in {entry['counts']:,} rows is taken for an id; remove these rows "
            "if it means that the id is missing"
        )
    ids = pc.unique(texts)
    whole = pc.replace_substring_regex(ids, r"^([+-]?\d+)\.0+$", r"\1")
    if twice := ids.filter(pc.and_(pc.not_equal(ids, whole), pc.is_in(whole, ids))).to_pylist():
        note(
            f"warning: {where}: {len(twice):,} ids are written in two ways, such as '{twice[0]}' and "
            f"'{twice[0].partition('.')[0]}', and taken for two ids each"
        )


def print_join(events: Table, table: Table, column: str) -> None:
    """Print how many ids of the events have a row in `table`, and how many of its ids have no events."""
    known, described = (set(pc.unique(ids_of(each, column)).to_pylist()) for each in (events, table))
    matched = len(known & described)
    note(
        f"'{table.name}': {matched:,} of {len(known):,} ids in '{column}' of '{events.name}' have a row; "
        f"{len(described) - matched:,} more ids have no events"
    )
    if not matched:
        note(
            f"warning: no id of '{events.name}' is in '{table.name}', so that its columns describe none of them; "
            f"ids are written as '{min(known)}' in one and as '{min(described)}' in the other"
        )

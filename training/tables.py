"""A file as columns: CSV, parquet, or an atomic file of RecBole. Knows files, never what a column means.

Columns of text stay text and are not guessed to be numbers by whoever reads ids; pyarrow reads 20 million rows in
seconds where a data frame of strings would not fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from models.card import DataSource
from models.errors import DataInvalid
from models.store.artifacts import file_sha256

# Between the words of a cell that holds a list of them.
TAG_SEPARATOR = "|"
_ATOMIC = (".inter", ".user", ".item")
_DELIMITERS = "\t,;|"


@dataclass(frozen=True, slots=True)
class Table:
    """Named columns and where they came from. `tags` are columns whose values are lists of words."""

    name: str
    sha256: str
    data: pa.Table
    tags: tuple[str, ...] = ()

    def column(self, name: str) -> pa.ChunkedArray:
        """One column. Raises DataInvalid listing those that there are."""
        if name not in self.data.column_names:
            raise DataInvalid(f"'{self.name}' has no column '{name}'; it has: {', '.join(self.data.column_names)}")
        return self.data.column(name)

    def __len__(self) -> int:
        return int(self.data.num_rows)


def read_table(path: Path, *, delimiter: str = "", text: Sequence[str] = ()) -> Table:
    """Read a file. `text` names columns whose values are kept as they are written, such as ids.

    CSV needs a header; its delimiter is found in the header unless given. Raises DataInvalid when the file is missing,
    empty or unreadable.
    """
    if not path.is_file():
        raise DataInvalid(f"no file '{path}'")
    try:
        data = pa.parquet.read_table(path) if _is_parquet(path) else _read_csv(path, delimiter, text)
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, UnicodeDecodeError) as error:
        raise DataInvalid(f"cannot read '{path.name}': {str(error).splitlines()[0][:300]}") from error
    if not data.num_rows:
        raise DataInvalid(f"'{path.name}' has no rows")
    if len(set(data.column_names)) != len(data.column_names):
        raise DataInvalid(f"'{path.name}' has two columns of the same name: {', '.join(data.column_names)}")
    tags: tuple[str, ...] = ()
    if path.suffix in _ATOMIC:
        data, tags = _without_types(data)
    return Table(name=path.name, sha256=file_sha256(path), data=data, tags=tags)


def source(tables: Sequence[Table | None], *, rows: int, name: str = "") -> DataSource:
    """One fingerprint for several files."""
    present = [table for table in tables if table is not None]
    digest = hashlib.sha256("".join(table.sha256 for table in present).encode()).hexdigest()
    return DataSource(name=name or ", ".join(table.name for table in present), sha256=digest, rows=rows)


def _is_parquet(path: Path) -> bool:
    return path.suffix in (".parquet", ".pq")


def _read_csv(path: Path, delimiter: str, text: Sequence[str]) -> pa.Table:
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline().rstrip("\r\n")
    if not header:
        raise DataInvalid(f"'{path.name}' is empty; a header line with the names of the columns is needed")
    separator = delimiter or max(_DELIMITERS, key=header.count)
    names = [name.strip().strip('"') for name in header.split(separator)]
    is_atomic = path.suffix in _ATOMIC
    kept = [name for name in names if name in text or (is_atomic and not name.endswith(":float"))]
    return pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=separator, quote_char=False if is_atomic else '"', newlines_in_values=not is_atomic
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in kept}, strings_can_be_null=False
        ),
    )


def _without_types(data: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """RecBole writes `name:type` into the header; `token_seq` is words with blanks between."""
    names = [name.partition(":")[0] for name in data.column_names]
    tags = tuple(
        name.partition(":")[0] for name in data.column_names if name.endswith(":token_seq") and "title" not in name
    )
    renamed = data.rename_columns(names)
    for name in tags:
        split = pc.split_pattern(pc.utf8_trim_whitespace(renamed[name]), " ")
        renamed = renamed.set_column(names.index(name), name, split)
    return renamed, tags

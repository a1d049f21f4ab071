"""Read tables from CSV files, parquet files and RecBole's atomic files.

`read_table` returns columns of pyarrow, which reads 20 million rows in seconds and keeps ids as text. Training of
tabular models needs pandas for its types and for decimal commas; it shares the checks, the formats and the detection
of delimiters in this module.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from models.card import DataSource
from models.errors import DataInvalid, InputTooLarge
from models.store.manifest import file_sha256
from models.tables.columns import plain
from models.tables.csv_files import CsvLayout, layout_of

# Separates the words of a cell that holds a list.
TAG_SEPARATOR = "|"
CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
_ATOMIC_SUFFIXES = (".inter", ".user", ".item")


@dataclass(frozen=True, slots=True)
class Table:
    """Named columns and their origin. `tags` names columns whose values are lists of words."""

    name: str
    sha256: str
    data: pa.Table
    tags: tuple[str, ...] = ()

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one column. Raises DataInvalid for an unknown name."""
        if name not in self.data.column_names:
            raise DataInvalid(f"'{self.name}' has no column '{name}'; it has: {', '.join(self.data.column_names)}")
        return self.data.column(name)

    def __len__(self) -> int:
        return int(self.data.num_rows)


def read_table(path: Path, *, delimiter: str = "", text: Sequence[str] = ()) -> Table:
    """Read a file. `text` names columns whose values stay as they are written, such as ids.

    CSV needs a header. Its delimiter is detected unless given. Raises DataInvalid when the file is missing, empty or
    malformed.
    """
    check_file(path)
    try:
        data = _read_parquet(path) if is_parquet(path) else _read_csv(path, delimiter, text)
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, UnicodeDecodeError) as error:
        raise DataInvalid(f"cannot read '{path.name}': {str(error).splitlines()[0][:300]}") from error
    if not data.num_rows:
        raise DataInvalid(f"file '{path.name}' has no rows")
    check_names(data.column_names, path)
    tags: tuple[str, ...] = ()
    if path.suffix in _ATOMIC_SUFFIXES:
        data, tags = _without_types(data)
    return Table(name=path.name, sha256=file_sha256(path), data=data, tags=tags)


def check_file(path: Path) -> None:
    """Raise DataInvalid when `path` is no file, or empty."""
    if not path.is_file():
        raise DataInvalid(f"no file '{path}'")
    if not path.stat().st_size:
        raise DataInvalid(f"file '{path.name}' is empty; a header line with the names of the columns is needed")


def check_names(names: Sequence[str], path: Path) -> None:
    """Raise DataInvalid when two columns of a file have the same name."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataInvalid(f"file '{path.name}' has several columns named {', '.join(map(repr, repeated))}; rename them")


def is_parquet(path: Path) -> bool:
    """Return whether the suffix of a file is that of parquet."""
    return path.name.lower().endswith(PARQUET_SUFFIXES)


def csv_layout(path: Path, delimiter: str = "") -> CsvLayout:
    """Return the layout of a CSV file; its delimiter is detected unless given. Raises DataInvalid."""
    try:
        return layout_of(path, delimiter)
    except UnicodeDecodeError as error:
        raise DataInvalid(f"file '{path.name}' is not UTF-8 text; save it as UTF-8") from error
    except (InputTooLarge, ValueError, OSError, EOFError, csv.Error) as error:
        raise DataInvalid(f"cannot read CSV file '{path.name}': {str(error)[:300]}") from error


def source(tables: Sequence[Table | None], *, rows: int, name: str = "") -> DataSource:
    """Return the data source of several files, with one hash for all of them."""
    present = [table for table in tables if table is not None]
    digest = hashlib.sha256("".join(table.sha256 for table in present).encode()).hexdigest()
    return DataSource(name=name or ", ".join(table.name for table in present), sha256=digest, rows=rows)


def _read_parquet(path: Path) -> pa.Table:
    data = pa.parquet.read_table(path)
    return pa.table([plain(column) for column in data.columns], names=data.column_names)


def _read_csv(path: Path, delimiter: str, text: Sequence[str]) -> pa.Table:
    is_atomic = path.suffix in _ATOMIC_SUFFIXES
    # Atomic files do not quote: a quotation mark in a title would confuse the detection.
    layout = csv_layout(path, delimiter or ("\t" if is_atomic else ""))
    as_text = [name for name in layout.names if name in text or (is_atomic and not name.endswith(":float"))]
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(skip_rows=layout.skipped_lines + 1, column_names=list(layout.names)),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=layout.delimiter, quote_char=False if is_atomic else '"', newlines_in_values=not is_atomic
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in as_text}, strings_can_be_null=False
        ),
    )


def _without_types(data: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Remove the types from RecBole's header `name:type`, and split the columns of type `token_seq` into words."""
    names = [name.partition(":")[0] for name in data.column_names]
    tags = tuple(
        name.partition(":")[0] for name in data.column_names if name.endswith(":token_seq") and "title" not in name
    )
    renamed = data.rename_columns(names)
    for name in tags:
        split = pc.split_pattern(pc.utf8_trim_whitespace(renamed[name]), " ")
        renamed = renamed.set_column(names.index(name), name, split)
    return renamed, tags

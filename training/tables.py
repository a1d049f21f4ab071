"""Read tables from CSV files, parquet files and RecBole's atomic files.

`read_table` returns columns of pyarrow, which reads 20 million rows in seconds and keeps ids as text. Training of
tabular models needs pandas for its types and for decimal commas; it shares the checks, the formats and the detection
of delimiters in this module.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from models.card import DataSource
from models.errors import DataInvalid
from models.store.artifacts import file_sha256

# Separates the words of a cell that holds a list.
TAG_SEPARATOR = "|"
CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
_ATOMIC_SUFFIXES = (".inter", ".user", ".item")
_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 20


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
        data = pa.parquet.read_table(path) if is_parquet(path) else _read_csv(path, delimiter, text)
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


def read_header(path: Path, delimiter: str = "") -> tuple[list[str], str]:
    """Return the names of the columns of a CSV file and its delimiter, which is detected unless given.

    Raises DataInvalid, and the errors of `open`, `gzip` and `csv`.
    """
    with _open_text(path) as file:
        sample = [line for line, _ in zip(file, range(_SAMPLE_LINES), strict=False) if line.strip()]
    if not sample:
        raise DataInvalid(f"file '{path.name}' has no lines")
    separator = delimiter.replace("\\t", "\t") or _delimiter(sample)
    if len(separator) != 1:
        raise DataInvalid(f"a delimiter is one character, not '{delimiter}'")
    with _open_text(path) as file:
        names = next(row for row in csv.reader(file, delimiter=separator, skipinitialspace=True) if row)
    return [name.strip() for name in names], separator


def source(tables: Sequence[Table | None], *, rows: int, name: str = "") -> DataSource:
    """Return the data source of several files, with one hash for all of them."""
    present = [table for table in tables if table is not None]
    digest = hashlib.sha256("".join(table.sha256 for table in present).encode()).hexdigest()
    return DataSource(name=name or ", ".join(table.name for table in present), sha256=digest, rows=rows)


def _open_text(path: Path) -> IO[str]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _delimiter(lines: Sequence[str]) -> str:
    """Return the character that splits the most lines into as many fields as the header has, and into most fields."""
    best, best_score = ",", (0, 0)
    for candidate in _DELIMITERS:
        fields = [len(row) for row in csv.reader(lines, delimiter=candidate, skipinitialspace=True) if row]
        if fields and fields[0] > 1:
            score = (sum(count == fields[0] for count in fields), fields[0])
            if score > best_score:
                best, best_score = candidate, score
    return best


def _read_csv(path: Path, delimiter: str, text: Sequence[str]) -> pa.Table:
    is_atomic = path.suffix in _ATOMIC_SUFFIXES
    # Atomic files do not quote: a quotation mark in a title would confuse the detection.
    names, separator = read_header(path, delimiter or ("\t" if is_atomic else ""))
    as_text = [name for name in names if name in text or (is_atomic and not name.endswith(":float"))]
    return pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=separator, quote_char=False if is_atomic else '"', newlines_in_values=not is_atomic
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

"""The layout of a CSV file: where its header is, and what separates its fields. Training and jobs read files by it.

A byte order mark, blank lines before the header, Excel's line `sep=;`, blanks around names and values, and compression
with gzip are part of files as programs write them.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

from models.errors import InputTooLarge

MAX_LINE_CHARACTERS = 1 << 20

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 20
_SAMPLE_CHARACTERS = 4 << 20
_GZIP = b"\x1f\x8b"
_EXCEL = re.compile(r"sep=(.)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """The names of the columns, the delimiter, and the number of lines before the header."""

    names: tuple[str, ...]
    delimiter: str
    skipped_lines: int


def open_csv(path: Path) -> IO[str]:
    """Open a file as UTF-8 text, without a byte order mark; a file that is compressed with gzip is decompressed."""
    if is_gzip(path):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="strict", newline="")
    return path.open(encoding="utf-8-sig", errors="strict", newline="")


def is_gzip(path: Path) -> bool:
    """Return whether a file begins as one that is compressed with gzip."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def layout_of(path: Path, delimiter: str = "") -> CsvLayout:
    """Return the layout of a CSV file. The delimiter is detected unless given.

    Raises ValueError for a delimiter of several characters, and for a file without a line that is not blank,
    InputTooLarge for a line over MAX_LINE_CHARACTERS, and the errors of opening and decoding it, and of `csv`.
    """
    with open_csv(path) as file:
        return _layout(file, delimiter)


def _layout(file: IO[str], delimiter: str) -> CsvLayout:
    lines = _sample(file)
    skipped = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    if skipped < len(lines) and (excel := _EXCEL.fullmatch(lines[skipped].strip("\r\n"))):
        delimiter = delimiter or excel[1]
        skipped = next((n for n, line in enumerate(lines) if n > skipped and line.strip()), len(lines))
    present = [line for line in lines[skipped:] if line.strip()]
    if not present:
        raise ValueError("the table is empty; its first line has to name the columns")
    separator = delimiter.replace("\\t", "\t") or _delimiter(present)
    if len(separator) != 1:
        raise ValueError(f"a delimiter is one character, not '{delimiter[:20]}'")
    # A name with line breaks may be longer than the sample.
    names = next(csv.reader(chain(lines[skipped:], file), delimiter=separator, skipinitialspace=True))
    return CsvLayout(tuple(name.strip() for name in names), separator, skipped)


def _sample(file: IO[str]) -> list[str]:
    """Return the first lines: all before the first that is not blank, and some after it."""
    lines: list[str] = []
    characters = present = 0
    while present < _SAMPLE_LINES and characters < _SAMPLE_CHARACTERS:
        line = file.readline(MAX_LINE_CHARACTERS)
        if len(line) == MAX_LINE_CHARACTERS:
            message = f"line {len(lines) + 1} is longer than {MAX_LINE_CHARACTERS} characters"
            raise InputTooLarge(message, location=("body",))
        if not line:
            break
        lines.append(line)
        characters += len(line)
        present += bool(line.strip())
    return lines


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

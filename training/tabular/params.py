"""Command line options of tabular training, and the table that they name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import DataInvalid
from models.store.artifacts import check_name
from training.command import option
from training.promotion import PROMOTE_HELP
from training.tabular.columns import known_names
from training.tabular.datasets import AUTO_DELIMITER, Table, german_credit, read_table
from training.tabular.target import TaskChoice


@dataclass(frozen=True)
class Params:
    """Options of `python -m training.tabular`."""

    data: Path | None = option(
        None, "CSV (one header line, UTF-8, may be gzipped) or parquet file; German credit if not given"
    )
    target: str | None = option(None, "column to predict")
    task: TaskChoice = option("auto", "classes, numbers, or detected from the column")
    delimiter: str = option(AUTO_DELIMITER, "field delimiter of the CSV file")
    decimal: str = option(".", "decimal separator of the CSV file", choices=(".", ","))
    drop: tuple[str, ...] = option((), "columns to ignore")
    unknown_categories: Literal["reject", "accept"] = option(
        "reject", "when serving, reject a category that was not in the table, or accept it as 'none of these'"
    )
    max_categories: int = option(100, "text columns with more distinct values are ignored")
    test_share: float = option(0.2, "share of rows that is held out for evaluation")
    folds: int = option(5, "folds of the cross-validation that chooses the model")
    min_metric: float | None = option(
        None, "refuse to save below this area under the ROC curve (classes) or R² (numbers); German credit: 0.7"
    )
    seed: int = option(0, "seed of every random choice")
    name: str = option("tabular", "name of the artifact")
    promote: bool = option(False, PROMOTE_HELP)


def check(params: Params) -> None:
    """Check the options.

    Raises DataInvalid for options that are out of range or conflict, and ArtifactInvalid for an invalid artifact name.
    """
    check_name(params.name)
    if params.data is not None and params.target is None:
        raise DataInvalid(f"give the column to predict with --target, one of: {known_names(read(params).frame)}")
    if not 0.05 <= params.test_share <= 0.5:
        raise DataInvalid(f"--test-share {params.test_share:g} is not within 0.05 and 0.5")
    if not 2 <= params.folds <= 5:
        raise DataInvalid(f"--folds {params.folds} is not within 2 and 5")


def read(params: Params) -> Table:
    """Read the table of `--data`, or German credit. Raises DataInvalid."""
    if params.data is None:
        return german_credit()
    return read_table(params.data, delimiter=params.delimiter, decimal=params.decimal)

"""The options of the training of a text classifier, and the texts that they name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import DataInvalid
from models.store.artifacts import check_name
from training.command import option
from training.promotion import PROMOTE_HELP
from training.tables import read_table
from training.text.corpus import Corpus, read_corpus
from training.text.languages import sentences


@dataclass(frozen=True)
class Params:
    """Options of `python -m training.text`."""

    data: Path | None = option(
        None, "CSV (one header line, UTF-8) or Parquet file; by default, sentences in 22 languages"
    )
    text: str | None = option(None, "column of the texts")
    target: str | None = option(None, "column of the classes")
    delimiter: str = option("", "separator of the fields of the CSV file; by default, found in the header")
    accents: Literal["keep", "strip"] = option("keep", "keep the accents of letters, or treat é as e")
    max_terms: int = option(100_000, "n-grams of words, and as many n-grams of characters, that are used at most")
    test_share: float = option(0.2, "share of the rows that is held out to measure the model")
    folds: int = option(3, "folds of the cross-validation that chooses the model")
    min_metric: float | None = option(None, "refuse to save below this macro F1; default data: 0.85")
    seed: int = option(0, "seed of every random choice")
    name: str = option("text", "name of the artifact")
    promote: bool = option(False, PROMOTE_HELP)


def check(params: Params) -> None:
    """Raise DataInvalid for options that are out of range or do not go together, ArtifactInvalid for a bad name."""
    check_name(params.name)
    if params.data is None and (params.text is not None or params.target is not None):
        raise DataInvalid("--text and --target need --data")
    if params.data is not None and (params.text is None or params.target is None):
        columns = ", ".join(read_table(params.data, delimiter=params.delimiter).data.column_names)
        raise DataInvalid(f"--data needs --text and --target, two of: {columns}")
    if not 0.05 <= params.test_share <= 0.5:
        raise DataInvalid(f"--test-share {params.test_share:g} is not within 0.05 and 0.5")
    if not 2 <= params.folds <= 5:
        raise DataInvalid(f"--folds {params.folds} is not within 2 and 5")
    if params.max_terms < 1:
        raise DataInvalid(f"--max-terms {params.max_terms} is below 1")


def read(params: Params) -> Corpus:
    """Return the texts of `--data`, or the default ones. Raises DataInvalid."""
    if params.data is None or params.text is None or params.target is None:
        return sentences()
    return read_corpus(params.data, text=params.text, target=params.target, delimiter=params.delimiter)

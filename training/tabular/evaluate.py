"""Compare training with LightGBM's defaults on public tables: `make evaluate-tables`, or for some of them

    python -m training.tabular.evaluate --only wine,College --seeds 3

The error is the log loss for classes and the RMSE for numbers, on the same held-out fifth of the rows. The exit status
is 1 unless every error is at most MAX_RATIO times that of LightGBM, and lower on MIN_BETTER tables.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import log_loss, root_mean_squared_error
from threadpoolctl import threadpool_limits

from models.errors import DataInvalid
from training.report import console
from training.tabular.boosting import Values
from training.tabular.candidates import candidates
from training.tabular.choice import choose
from training.tabular.columns import ColumnRules, read_inputs
from training.tabular.predictor import fit
from training.tabular.public_tables import TABLES, PublicTable
from training.tabular.target import Target, read_target, split

MAX_RATIO = 1.03
MIN_BETTER = 10

_FOLDS = 5
_TEST_SHARE = 0.2
# The held-out rows of one split of a small table say little.
_SMALL_ROWS, _SPLITS_OF_SMALL = 1_000, 4


@dataclass(frozen=True, slots=True)
class Comparison:
    """Errors on held-out rows, means over the seeds, and the seconds of one training."""

    name: str
    metric: str
    ours: float
    lightgbm: float
    chosen: str
    seconds: float

    @property
    def ratio(self) -> float:
        """Our error divided by LightGBM's."""
        return self.ours / self.lightgbm


def compare(table: PublicTable, *, splits: int) -> Comparison:
    """Train on `table` for each of `splits` random splits, and with LightGBM's defaults on the same rows.

    Raises DataInvalid.
    """
    frame = table.read()
    target = read_target(frame, table.target, table.task)
    frame = frame[target.is_used].drop(columns=target.name).reset_index(drop=True)
    inputs = read_inputs(frame, ColumnRules(), descriptions={})
    seeds = range(splits * (_SPLITS_OF_SMALL if len(frame) < _SMALL_ROWS else 1))
    ours, defaults, chosen = [], [], ""
    started = time.perf_counter()
    for seed in seeds:
        train, test = split(target, test_share=_TEST_SHARE, seed=seed)
        rows, values = inputs.rows[train], target.values[train]
        compared = candidates(inputs.columns, classes=len(target.classes), rows=len(rows), seed=seed)
        choice = choose(compared, rows, values, folds=_FOLDS, seed=seed)
        predicted = fit(choice, rows, values, classes=len(target.classes)).predict(inputs.rows[test])
        ours.append(_error(target.values[test], predicted))
        chosen = choice.name + ("" if choice.calibration is None else ", calibrated")
    seconds = (time.perf_counter() - started) / len(seeds)
    for seed in seeds:
        train, test = split(target, test_share=_TEST_SHARE, seed=seed)
        defaults.append(_error(target.values[test], _default_answers(frame, target, train, test, seed=seed)))
    metric = "log loss" if target.is_classification else "RMSE"
    return Comparison(table.name, metric, float(np.mean(ours)), float(np.mean(defaults)), chosen, seconds)


def markdown(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons as a Markdown table."""
    lines = ["| table | error | ours | LightGBM | ratio | s | chosen |", "|---|---|---|---|---|---|---|"]
    for each in comparisons:
        cells = [each.name, each.metric, f"{each.ours:.4g}", f"{each.lightgbm:.4g}", f"{each.ratio:.3f}"]
        lines.append("| " + " | ".join([*cells, f"{each.seconds:.0f}", each.chosen]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", default="", help="names of tables, separated by commas")
    parser.add_argument("--seeds", type=int, default=3, help="random splits; four times as many of small tables")
    options = parser.parse_args()
    names = set(filter(None, options.only.split(",")))
    if unknown := names - {table.name for table in TABLES}:
        sys.exit(f"error: no table {', '.join(sorted(unknown))}; known: {', '.join(table.name for table in TABLES)}")
    comparisons = []
    with threadpool_limits(1):
        for table in TABLES:
            if not names or table.name in names:
                console.print(f"> {table.name}")
                comparisons.append(compare(table, splits=options.seeds))
    print(markdown(comparisons))
    better = sum(each.ratio < 1 for each in comparisons)
    worst = max(each.ratio for each in comparisons)
    print(f"\nbetter on {better} of {len(comparisons)} tables; the largest ratio is {worst:.3f}")
    if worst > MAX_RATIO or (not names and better < MIN_BETTER):
        sys.exit(1)


def _default_answers(
    frame: pd.DataFrame, target: Target, train: NDArray[np.int64], test: NDArray[np.int64], *, seed: int
) -> NDArray[np.float64]:
    """Return the answers of LightGBM's defaults. Text is a category; text that differs in every row is left out."""
    inputs = pd.DataFrame(index=frame.index)
    for position, name in enumerate(frame.columns):
        series = frame[name]
        if pd.api.types.is_string_dtype(series.dtype):
            if series.nunique() < len(series):
                inputs[position] = series.astype(object).astype("category")
        else:
            inputs[position] = series.astype("float64")
    kind = lightgbm.LGBMClassifier if target.is_classification else lightgbm.LGBMRegressor
    model = kind(random_state=seed, verbose=-1, n_jobs=1).fit(inputs.iloc[train], target.values[train])
    answers = model.predict_proba if target.is_classification else model.predict
    return np.asarray(answers(inputs.iloc[test]), np.float64)


def _error(values: Values, answers: NDArray[np.float64]) -> float:
    if values.dtype.kind == "i":
        return float(log_loss(values, answers, labels=np.arange(answers.shape[1])))
    return float(root_mean_squared_error(values, answers.ravel()))


if __name__ == "__main__":
    try:
        main()
    except DataInvalid as error:
        sys.exit(f"error: {error}")

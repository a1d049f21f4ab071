"""Compare the recommendation algorithms under one protocol: python -m training.evaluate

The data is MovieLens-100K. A random quarter of each user's interactions is the test part, all of it relevant. Each
user gets ten items, without seen ones. The metrics are those of `training.recommender.ranking_metrics`, with mean and
standard deviation over several split seeds.

Each algorithm is fitted on the training part with its default hyperparameters, unless `--set` changes them. The
defaults were chosen on validation parts inside the training parts of split seeds 101 and 102, which are not reported.
The test part is used once, by `evaluate`. One exception: earlier settings of LightFM were compared on the test part of
seed 0, before the current ones were chosen. Seeds above 0 are not affected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.errors import DataInvalid
from models.recommender.dataset.dataset import Dataset
from models.recommender.registry import ALGORITHMS
from training.command import option
from training.recommender import movielens
from training.recommender.algorithm_settings import create
from training.recommender.evaluation import Evaluation, fit_and_evaluate
from training.recommender.splits import Split, split
from training.report import console, step

_FIRST_COLUMNS = ("ndcg@10", "p@10", "r@10", "map@10")


@dataclass(frozen=True)
class Params:
    """Options of `python -m training.evaluate`."""

    algorithms: tuple[str, ...] = option(ALGORITHMS.names(), "algorithms to compare")
    seed: int = option(0, "first seed of the splits")
    seeds: int = option(5, "number of splits, with consecutive seeds")
    split: Split = option(
        "random", "a random or the latest share of each user's interactions", choices=("random", "last")
    )
    set: tuple[str, ...] = option((), "hyperparameters to change: ALGORITHM.NAME=VALUE,...")
    test_share: float = option(0.25, "share of each user's interactions in the test part")
    slices: bool = option(False, "also print the slices: new, light and heavy users, head and tail items")
    json: bool = option(False, "end with one line of JSON: {algorithm: {metric: mean}}")


def main(params: Params) -> dict[str, dict[str, float]]:
    """Print the table, and return the mean of each metric for each algorithm."""
    if params.seeds < 1:
        raise DataInvalid(f"--seeds must be at least 1, not {params.seeds}")
    dataset = movielens_dataset()
    seeds = range(params.seed, params.seed + params.seeds)
    evaluations = {name: [_evaluate(name, dataset, params, seed) for seed in seeds] for name in params.algorithms}
    means = {name: _mean([run.metrics for run in runs]) for name, runs in evaluations.items()}
    deviations = {name: _deviation([run.metrics for run in runs]) for name, runs in evaluations.items()}
    print(_table(means, deviations))
    if params.slices:
        for name, runs in evaluations.items():
            print(f"\n{name}\n\n{_table(_slices(runs), {})}")
    if params.json:
        print(
            json.dumps(
                {name: {key: round(value, 5) for key, value in metrics.items()} for name, metrics in means.items()}
            )
        )
    return means


def movielens_dataset() -> Dataset:
    """Return MovieLens-100K with the attributes of users and items."""
    return movielens.corpus_of(movielens.movielens_100k()).dataset


def _evaluate(name: str, dataset: Dataset, params: Params, seed: int) -> Evaluation:
    algorithm = create(name, params.set, among=params.algorithms)
    train, test = split(dataset, params.split, test_share=params.test_share, seed=seed)
    with step(f"{name}, split {seed}"):
        evaluation = fit_and_evaluate(algorithm, train, test)
    console.print("  " + "  ".join(f"{key} {value:.4f}" for key, value in evaluation.metrics.items()), soft_wrap=True)
    return evaluation


def _mean(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([run[key] for run in runs if key in run])) for key in runs[0]}


def _deviation(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: float(np.std([run[key] for run in runs])) for key in runs[0]}


def _slices(runs: Sequence[Evaluation]) -> dict[str, dict[str, float]]:
    return {name: _mean([run.slices[name] for run in runs if name in run.slices]) for name in runs[0].slices}


def _table(means: Mapping[str, Mapping[str, float]], deviations: Mapping[str, Mapping[str, float]]) -> str:
    columns = dict.fromkeys([*_FIRST_COLUMNS, *(key for metrics in means.values() for key in metrics)])
    lines = ["| model | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, values in means.items():
        spread = deviations.get(name, {})
        cells = [_cell(values.get(key), spread.get(key)) for key in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: float | None, deviation: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if deviation is None else f"{value:.4f} ± {deviation:.4f}"

"""Train at the scale of MovieLens-20M on synthetic interactions: python -m training.scale --algorithm als

The data has 138,000 users, 27,000 items and 20 million interactions, with the skew of MovieLens-20M. The script prints
a line per epoch on standard error, then the time, the peak memory and the quality on a held-out part.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import DataInvalid
from models.recommender.algorithms.base import Progress
from models.recommender.dataset.dataset import Dataset, csr
from models.recommender.registry import ALGORITHMS, AnyAlgorithm
from training.command import option
from training.recommender import ranking_metrics
from training.recommender.ranking_metrics import K
from training.recommender.splits import split
from training.report import step

_TASTES = 40
# MovieLens-20M: the median user has 68 ratings, the mean is 144; half of all ratings are of 600 items.
_ACTIVITY_SPREAD = 1.2
_POPULARITY_SLOPE = 0.9
_OWN_TASTE = 0.6
_OVERSAMPLING = 1.3
_ROUNDS = 6
_MEASURED_USERS = 2_000


@dataclass(frozen=True)
class Params:
    """Options of `python -m training.scale`."""

    algorithm: str = option("als", "algorithm to train; intended for als and lightfm-warp")
    users: int = option(138_000, "number of users")
    items: int = option(27_000, "number of items")
    interactions: int = option(20_000_000, "approximate number of distinct pairs of a user and an item")
    epochs: int = option(0, "passes over the data; 0 for the default of the algorithm")
    factors: int = option(64, "length of the vectors")
    threads: int = option(2, "threads of the algorithm")
    test_share: float = option(0.05, "share of each user's interactions in the test part")
    seed: int = option(0, "seed of the data and of training")
    json: bool = option(False, "end with one line of JSON")


def main(params: Params) -> dict[str, float]:
    """Generate the data, train and evaluate; print and return the cost and the quality."""
    if min(params.users, params.items, params.interactions) < 2:
        raise DataInvalid("--users, --items and --interactions are at least 2")
    with step(f"generating {params.interactions:,} interactions of {params.users:,} users with {params.items:,} items"):
        dataset = skewed_interactions(params.users, params.items, params.interactions, seed=params.seed)
        train, test = split(dataset, "random", test_share=params.test_share, seed=params.seed)
    algorithm = _algorithm(params)
    started = time.perf_counter()
    with step(f"training {algorithm.name} on {train.interactions.nnz:,} interactions"):
        algorithm.fit(train, progress=_epoch_lines(algorithm.name))
    measurements = {
        "interactions": float(train.interactions.nnz),
        "train_s": round(time.perf_counter() - started, 1),
        "peak_gib": round(_peak_gib(), 2),
        **_quality(algorithm, test),
    }
    print("  ".join(f"{name} {value:,.4g}" for name, value in measurements.items()))
    if params.json:
        print(json.dumps(measurements))
    return measurements


def skewed_interactions(users: int, items: int, interactions: int, *, seed: int) -> Dataset:
    """Return about `interactions` distinct interactions, most of them of few users and items.

    Users with the same taste share items.
    """
    random = np.random.default_rng(seed)
    activity = random.lognormal(sigma=_ACTIVITY_SPREAD, size=users)
    tastes = random.integers(0, _TASTES, users), random.integers(0, _TASTES, items)
    pairs = np.empty(0, np.int64)
    # Repeated pairs are dropped, so that several rounds are needed to reach the number.
    for _ in range(_ROUNDS):
        if (missing := interactions - len(pairs)) <= 0:
            break
        counts = random.poisson(activity / activity.sum() * missing * _OVERSAMPLING)
        rows = np.repeat(np.arange(users, dtype=np.int64), counts)
        # Sorting is faster than np.unique, which takes minutes for 26 million numbers.
        pairs = np.sort(np.concatenate((pairs, rows * items + _liked(rows, *tastes, random))))
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    if len(pairs) > interactions:
        pairs = np.sort(random.choice(pairs, interactions, replace=False))
    indptr = np.searchsorted(pairs, np.arange(users + 1, dtype=np.int64) * items)
    return Dataset(csr(np.ones(len(pairs), np.float32), pairs % items, indptr, (users, items)))


def _liked(
    rows: NDArray[np.int64],
    taste_of_user: NDArray[np.int64],
    taste_of_item: NDArray[np.int64],
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw an item for each row, mostly of the user's taste, and popular items more often."""
    popularity = 1 / np.arange(10, len(taste_of_item) + 10) ** _POPULARITY_SLOPE
    columns = _drawn(popularity, len(rows), random)
    tastes = np.where(random.random(len(rows)) < _OWN_TASTE, taste_of_user[rows], -1)
    for taste in range(_TASTES):
        items, positions = np.flatnonzero(taste_of_item == taste), np.flatnonzero(tastes == taste)
        if len(items):
            columns[positions] = items[_drawn(popularity[items], len(positions), random)]
    return columns


def _drawn(weights: NDArray[np.float64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw `count` indices with these weights, by the inverse of their cumulative sum."""
    ends = np.cumsum(weights)
    drawn = np.searchsorted(ends, random.random(count) * ends[-1], side="right")
    indices: NDArray[np.int64] = np.minimum(drawn, len(weights) - 1).astype(np.int64)
    return indices


def _algorithm(params: Params) -> AnyAlgorithm:
    chosen = {"factors": params.factors, "threads": params.threads, "seed": params.seed}
    if params.epochs:
        chosen["epochs"] = params.epochs
    defaults = ALGORITHMS.find(params.algorithm).params_type()
    return ALGORITHMS.create(params.algorithm, {key: chosen[key] for key in chosen if hasattr(defaults, key)})


def _epoch_lines(name: str) -> Progress:
    """Return a callback that prints the time of an epoch, the remaining time and the peak memory."""
    started = time.perf_counter()
    before = started

    def print_epoch(done: int, total: int) -> None:
        nonlocal before
        now = time.perf_counter()
        left_s = (now - started) / done * (total - done)
        print(
            f"  {name}  epoch {done}/{total}  {now - before:.1f} s  {left_s / 60:.1f} min to go  "
            f"peak memory {_peak_gib():.2f} GiB",
            file=sys.stderr,
            flush=True,
        )
        before = now

    return print_epoch


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def _quality(algorithm: AnyAlgorithm, test: Dataset) -> dict[str, float]:
    users = np.flatnonzero(test.activity() > 0)
    users = users[:: max(1, len(users) // _MEASURED_USERS)]
    recommended, _ = algorithm.recommend(users, K)
    metrics = ranking_metrics.means(ranking_metrics.per_user(recommended, test.interactions[users]))
    return {f"ndcg@{K}": round(metrics[f"ndcg@{K}"], 4)}

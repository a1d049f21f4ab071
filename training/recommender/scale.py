"""Train at the scale of MovieLens-20M on interactions made up with its skew: python -m training.scale --algorithm als

138,000 users, 27,000 items, 20 million interactions; a line per epoch on standard error, and at the end the time, the
largest memory and, so that it is seen to have learned, the quality on a part held out.
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
# MovieLens-20M: the user in the middle has 68 ratings, the mean is 144; half of all ratings are of 600 items.
_ACTIVITY_SPREAD = 1.2
_POPULARITY_SLOPE = 0.9
_OWN_TASTE = 0.6
_DRAWN = 1.3
_ROUNDS = 6
_MEASURED_USERS = 2_000


@dataclass(frozen=True)
class Params:
    """Options of `python -m training.scale`."""

    algorithm: str = option("als", "which one; als and lightfm-warp are meant")
    users: int = option(138_000, "users")
    items: int = option(27_000, "items")
    interactions: int = option(20_000_000, "distinct pairs of a user and an item, about")
    epochs: int = option(0, "passes over the data; 0 for as many as the algorithm makes by default")
    factors: int = option(64, "length of the vectors")
    threads: int = option(2, "threads of the algorithm")
    test_share: float = option(0.05, "share of each user's interactions to measure on")
    seed: int = option(0, "seed of everything")
    json: bool = option(False, "end with one line of JSON")


def main(params: Params) -> dict[str, float]:
    """Make the data, train, measure; print and return what it took."""
    if min(params.users, params.items, params.interactions) < 2:
        raise DataInvalid("--users, --items and --interactions are at least 2")
    with step(f"making {params.interactions:,} interactions of {params.users:,} users with {params.items:,} items"):
        dataset = skewed(params.users, params.items, params.interactions, seed=params.seed)
        train, test = split(dataset, "random", test_share=params.test_share, seed=params.seed)
    algorithm = _algorithm(params)
    started = time.perf_counter()
    with step(f"training {algorithm.name} on {train.interactions.nnz:,} interactions"):
        algorithm.fit(train, progress=_lines(algorithm.name))
    found = {
        "interactions": float(train.interactions.nnz),
        "train_s": round(time.perf_counter() - started, 1),
        "peak_gib": round(_peak_gib(), 2),
        **_quality(algorithm, test),
    }
    print("  ".join(f"{name} {value:,.4g}" for name, value in found.items()))
    if params.json:
        print(json.dumps(found))
    return found


def skewed(users: int, items: int, interactions: int, *, seed: int) -> Dataset:
    """About as many distinct interactions, few users and items having most of them; users of one taste share items."""
    random = np.random.default_rng(seed)
    activity = random.lognormal(sigma=_ACTIVITY_SPREAD, size=users)
    tastes = random.integers(0, _TASTES, users), random.integers(0, _TASTES, items)
    pairs = np.empty(0, np.int64)
    # A user likes an item once: what is drawn twice is drawn for nothing, and drawn again a few times at most.
    for _ in range(_ROUNDS):
        if (missing := interactions - len(pairs)) <= 0:
            break
        counts = random.poisson(activity / activity.sum() * missing * _DRAWN)
        rows = np.repeat(np.arange(users, dtype=np.int64), counts)
        # By sorting: np.unique hashes whole numbers, which takes minutes for 26 million.
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
    """An item for each row: mostly one of the user's taste, the popular ones more often."""
    popularity = 1 / np.arange(10, len(taste_of_item) + 10) ** _POPULARITY_SLOPE
    columns = _drawn(popularity, len(rows), random)
    tastes = np.where(random.random(len(rows)) < _OWN_TASTE, taste_of_user[rows], -1)
    for taste in range(_TASTES):
        own, places = np.flatnonzero(taste_of_item == taste), np.flatnonzero(tastes == taste)
        if len(own):
            columns[places] = own[_drawn(popularity[own], len(places), random)]
    return columns


def _drawn(weights: NDArray[np.float64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """`count` places drawn with these weights, by the inverse of their cumulative sum."""
    ends = np.cumsum(weights)
    found = np.searchsorted(ends, random.random(count) * ends[-1], side="right")
    places: NDArray[np.int64] = np.minimum(found, len(weights) - 1).astype(np.int64)
    return places


def _algorithm(params: Params) -> AnyAlgorithm:
    known = {"factors": params.factors, "threads": params.threads, "seed": params.seed}
    if params.epochs:
        known["epochs"] = params.epochs
    kind = ALGORITHMS.find(params.algorithm)
    return ALGORITHMS.create(params.algorithm, {k: v for k, v in known.items() if hasattr(kind.params_type(), k)})


def _lines(name: str) -> Progress:
    """One line on standard error per epoch: how long it took, how long the others will, how much memory there was."""
    started = time.perf_counter()
    before = started

    def told(done: int, total: int) -> None:
        nonlocal before
        now = time.perf_counter()
        left_s = (now - started) / done * (total - done)
        print(
            f"  {name}  epoch {done}/{total}  {now - before:.1f} s  {left_s / 60:.1f} min to go  "
            f"{_peak_gib():.2f} GiB at most",
            file=sys.stderr,
            flush=True,
        )
        before = now

    return told


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def _quality(algorithm: AnyAlgorithm, test: Dataset) -> dict[str, float]:
    users = np.flatnonzero(test.activity() > 0)
    users = users[:: max(1, len(users) // _MEASURED_USERS)]
    recommended, _ = algorithm.recommend(users, K)
    found = ranking_metrics.means(ranking_metrics.per_user(recommended, test.interactions[users]))
    return {f"ndcg@{K}": round(found[f"ndcg@{K}"], 4)}

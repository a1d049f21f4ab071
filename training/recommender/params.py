"""What can be chosen when a recommender is trained, and the algorithms that this makes. Knows options, no data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.errors import DataInvalid
from models.recommender.algorithms.ann_index import MIN_INDEXED_ITEMS
from models.recommender.ranking.two_stage import TwoStage
from models.recommender.registry import ALGORITHMS, AnyAlgorithm
from models.store.artifacts import check_name
from training.command import option
from training.recommender.algorithm_settings import create, hyperparameters

_LIGHTFM = ("lightfm-warp", "lightfm-bpr")
_LIGHTFM_OPTIONS = ("epochs", "factors", "learning_rate", "threads", "max_sampled")


@dataclass(frozen=True)
class Params:
    """What can be chosen on the command line."""

    interactions: Path | None = option(None, "CSV, parquet or .inter file of events; MovieLens-100K when not given")
    users: Path | None = option(None, "file of user attributes, one row per user, or several with a column `time`")
    items: Path | None = option(None, "file of item attributes, one row per item, or several with a column `time`")
    user_column: str = option("user_id", "column of user ids, in all files")
    item_column: str = option("item_id", "column of item ids, in all files")
    time_column: str = option("", "column of times: Unix seconds or ISO 8601")
    weight_column: str = option("", "column that says how much an event counts, above zero")
    rating_column: str = option("", "column of opinions, kept beside the events; all events count as interest")
    title_column: str = option("", "column of titles in the file of items")
    user_attributes: tuple[str, ...] = option((), "columns of users to learn from; all that fit when empty")
    item_attributes: tuple[str, ...] = option((), "columns of items to learn from; all that fit when empty")
    delimiter: str = option("", "delimiter of CSV files; found in the header when empty")
    algorithms: tuple[str, ...] = option(
        ("two-level", "lightfm-warp", "ease-session", "als", "ease", "item-knn", "user-knn", "popular"),
        "what to train; the first is served by default",
    )
    set: tuple[str, ...] = option((), "more hyperparameters: ALGORITHM.NAME=VALUE,...; lists are joined by +")
    epochs: int = option(20, "passes over the data (lightfm, also as a retriever of two-level)")
    factors: int = option(64, "length of the vectors (lightfm, also as a retriever)")
    learning_rate: float = option(0.03, "step size (lightfm, also as a retriever)")
    max_sampled: int = option(100, "negatives tried per positive at most (lightfm-warp, also as a retriever)")
    threads: int = option(1, "threads of lightfm; above 1 is faster and differs a little at every run")
    test_share: float = option(0.25, "share of each user's interactions held back for measuring")
    holdout: bool = option(False, "save what has not learned from the test share, to measure it as it is served")
    groups: Path | None = option(None, "file of groups of users: users and `group`, or one column per kind of group")
    feedback: str = option("", "SQLAlchemy URL of the service's feedback log, to learn from it too")
    approximate_from: int = option(
        MIN_INDEXED_ITEMS, "items from which factor models are served by an approximate index"
    )
    one_each: bool = option(False, "save each algorithm as an artifact of its own, NAME-ALGORITHM")
    min_metric: float = option(0.0, "quality gate: smallest ndcg@10 of the served algorithm")
    seed: int = option(0, "seed of splits and of training")
    name: str = option("recommender", "name of the artifact")


def check(params: Params) -> None:
    """Raises DataInvalid for options that are out of range, do not go together, or name what there is not;
    ArtifactInvalid for a name that no artifact can have."""
    check_name(params.name)
    for key in ("epochs", "factors", "max_sampled", "threads", "approximate_from"):
        if getattr(params, key) < 1:
            raise DataInvalid(f"--{key.replace('_', '-')} is {getattr(params, key)}; it must be at least 1")
    if not params.learning_rate > 0:
        raise DataInvalid(f"--learning-rate is {params.learning_rate:g}; it must be above 0")
    if not 0 < params.test_share < 1:
        raise DataInvalid(f"--test-share {params.test_share:g} is not between 0 and 1")
    if not params.algorithms:
        raise DataInvalid(f"no algorithm given; known: {', '.join(ALGORITHMS.names())}")
    if params.interactions is None and (params.users or params.items):
        raise DataInvalid("--users and --items go with --interactions; give it too, or none for MovieLens-100K")
    if params.holdout and params.feedback:
        raise DataInvalid("--holdout goes without --feedback: what is held out has to be known from the data alone")
    for name in params.algorithms:
        algorithm(params, name)


def algorithm(params: Params, name: str) -> AnyAlgorithm:
    """An unfitted algorithm with the hyperparameters of the command line. Raises DataInvalid for what it cannot be."""
    chosen: dict[str, object] = {"seed": params.seed} if "seed" in hyperparameters(name) else {}
    if name in _LIGHTFM:
        chosen |= {key: getattr(params, key) for key in _LIGHTFM_OPTIONS}
    if name == TwoStage.name:
        usual = Params()
        changed = {key: getattr(params, key) for key in _LIGHTFM_OPTIONS if getattr(params, key) != getattr(usual, key)}
        chosen["settings"] = tuple(f"{each}.{key}={value}" for each in _LIGHTFM for key, value in changed.items())
    return create(name, params.set, among=params.algorithms, chosen=chosen)

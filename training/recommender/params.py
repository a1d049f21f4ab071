"""Command line options of recommender training, and the algorithms that they describe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.errors import DataInvalid
from models.recommender.algorithms.ann_index import MIN_INDEXED_ITEMS
from models.recommender.ranking.two_stage import TwoStage
from models.recommender.registry import ALGORITHMS, AnyAlgorithm
from models.store.artifacts import check_name
from training.command import option
from training.promotion import PROMOTE_HELP
from training.recommender.algorithm_settings import create, hyperparameters

_LIGHTFM = ("lightfm-warp", "lightfm-bpr")
_LIGHTFM_OPTIONS = ("epochs", "factors", "learning_rate", "threads", "max_sampled")

# All of them, in the order in which they answer what those before cannot.
DEFAULT_ALGORITHMS = (
    *("two-level", "lightfm-warp", "ease-session", "als", "ease", "item-knn", "user-knn", "bpr", "fastrp"),
    *("lmf", "fastrp-item", "lightfm-bpr", "content-knn", "content", "popular"),
)


@dataclass(frozen=True)
class Params:
    """Options of `python -m training.recommender`."""

    interactions: Path | None = option(None, "CSV, parquet or .inter file of events; MovieLens-100K when not given")
    users: Path | None = option(None, "file of user attributes, one row per user, or several with a column `time`")
    items: Path | None = option(None, "file of item attributes, one row per item, or several with a column `time`")
    user_column: str = option("user_id", "column of user ids, in all files")
    item_column: str = option("item_id", "column of item ids, in all files")
    time_column: str = option("", "column of times: Unix seconds or ISO 8601")
    weight_column: str = option("", "column of weights of events, above zero")
    rating_column: str = option("", "column of ratings, stored with the events; all events count as interest")
    title_column: str = option("", "column of titles in the file of items")
    user_attributes: tuple[str, ...] = option((), "columns of users to learn from; every usable column when empty")
    item_attributes: tuple[str, ...] = option((), "columns of items to learn from; every usable column when empty")
    delimiter: str = option("", "delimiter of CSV files; detected when empty")
    algorithms: tuple[str, ...] = option(
        DEFAULT_ALGORITHMS,
        "what to train; the first is served by default. Of the default list, those that the data permits",
    )
    set: tuple[str, ...] = option((), "more hyperparameters: ALGORITHM.NAME=VALUE,...; lists are joined by +")
    epochs: int = option(20, "passes over the data (lightfm, also as a retriever of two-level)")
    factors: int = option(64, "length of the vectors (lightfm, also as a retriever)")
    learning_rate: float = option(0.03, "step size (lightfm, also as a retriever)")
    max_sampled: int = option(100, "negatives tried per positive at most (lightfm-warp, also as a retriever)")
    threads: int = option(1, "threads of lightfm; more than 1 is faster, and results differ slightly between runs")
    test_share: float = option(0.25, "share of each user's interactions held out for evaluation")
    evaluate_latest: bool = option(
        False, "also evaluate on the latest share of each user's interactions; fits every algorithm once more"
    )
    holdout: bool = option(False, "save the model fitted without the test share, to evaluate it while it serves")
    groups: Path | None = option(None, "file of user groups: a column `group`, or one column per kind of group")
    feedback: str = option("", "SQLAlchemy URL of the service's feedback log, to learn from it too")
    approximate_from: int = option(
        MIN_INDEXED_ITEMS, "smallest number of items for which factor models get an approximate index"
    )
    one_each: bool = option(False, "save one artifact per algorithm, named NAME-ALGORITHM")
    min_metric: float = option(0.0, "quality gate: smallest ndcg@10 of the served algorithm")
    seed: int = option(0, "seed of splits and of training")
    name: str = option("recommender", "name of the artifact")
    promote: bool = option(False, PROMOTE_HELP)


def check(params: Params) -> None:
    """Check the options.

    Raises DataInvalid for options that are out of range, conflict, or name an unknown algorithm. Raises ArtifactInvalid
    for an invalid artifact name.
    """
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
        raise DataInvalid(
            "--users and --items go with --interactions; give all of them, or omit them to train on MovieLens-100K"
        )
    if params.holdout and params.feedback:
        raise DataInvalid("--holdout goes without --feedback: the held-out part must follow from the data alone")
    for name in params.algorithms:
        algorithm(params, name)


def algorithm(params: Params, name: str) -> AnyAlgorithm:
    """Return an unfitted algorithm with the hyperparameters of the command line. Raises DataInvalid."""
    chosen: dict[str, object] = {"seed": params.seed} if "seed" in hyperparameters(name) else {}
    if name in _LIGHTFM:
        chosen |= {key: getattr(params, key) for key in _LIGHTFM_OPTIONS}
    if name == TwoStage.name:
        defaults = Params()
        changed = {
            key: getattr(params, key) for key in _LIGHTFM_OPTIONS if getattr(params, key) != getattr(defaults, key)
        }
        chosen["settings"] = tuple(f"{each}.{key}={value}" for each in _LIGHTFM for key, value in changed.items())
    return create(name, params.set, among=params.algorithms, chosen=chosen)

"""The card of a recommender: its data, metrics and hyperparameters, and histograms for drift detection."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping

import numpy as np

from models.card import Card, Column, DataSource, Metrics, Parity, Scalar
from models.profile import Profile
from models.recommender.archive import Contents
from models.recommender.dataset.dataset import Dataset
from models.recommender.ranking.two_stage import TwoStage
from models.recommender.registry import AnyAlgorithm
from training.histograms import numeric_profile
from training.recommender.evaluation import HEAVY_USER_FROM, NEW_USER_AT_MOST, Evaluation
from training.recommender.splits import Split
from training.report import library_versions

_SCORED_USERS = 1_000
_LIBRARIES = ("implicit", "lightfm-next", "lightgbm", "numpy", "pyarrow", "scipy")


def build(
    contents: Contents,
    *,
    name: str,
    data: DataSource,
    evaluations: Mapping[Split, Mapping[str, Evaluation]],
    parity: Parity | None,
    params: Mapping[str, Scalar],
) -> Card:
    """Return the card of an artifact.

    `evaluations` are by split, then by algorithm. The metrics of the card are those of the split "random".
    """
    served = contents.default
    return Card(
        name=name,
        task="recommendation",
        algorithm=served,
        created=dt.datetime.now(dt.UTC),
        inputs=_inputs(contents),
        outputs=_outputs(contents),
        metrics=dict(evaluations["random"][served].metrics),
        data=data,
        description=_description(contents, params),
        slices=_slices(evaluations, served),
        params={**params, **_hyperparameters(contents.algorithms)},
        libraries=library_versions(*_LIBRARIES),
        parity=parity,
        profile=_profile(contents.dataset, contents.algorithms[served]),
    )


def _inputs(contents: Contents) -> tuple[Column, ...]:
    return (
        Column("user_id", "text", "Id of the user, as in the training data.", example=contents.users[0]),
        Column("n", "integer", "Number of items.", required=False, minimum=1, maximum=100, example=10),
        Column("filter_seen", "boolean", "Exclude items the user has seen.", required=False, example=True),
        Column(
            "model",
            "category",
            "Algorithm that recommends.",
            required=False,
            categories=tuple(contents.algorithms),
            example=contents.default,
        ),
    )


def _outputs(contents: Contents) -> tuple[Column, ...]:
    most_popular = contents.items[int(np.argmax(contents.dataset.popularity()))]
    return (
        Column("item_id", "text", "Id of a recommended item, best first.", example=most_popular),
        Column("title", "text", 'Its title, "" where the data had none.'),
        Column("score", "number", "Higher is better; comparable within one response only."),
    )


def _description(contents: Contents, params: Mapping[str, Scalar]) -> str:
    dataset = contents.dataset
    saved = "The saved model was then fitted again, with the same settings, on all interactions."
    if params.get("holdout"):
        saved = "The saved model is the measured one: it has not learned from that part."
    return (
        f"{dataset.interactions.nnz:,} interactions of {dataset.users:,} users with {dataset.items:,} items. "
        f"Metrics are of models fitted without a random {params['test_share']:.0%} of each user's interactions and "
        f"measured on it: all of it relevant, seen items filtered. {saved} "
        f"Slices: new users have at most {NEW_USER_AT_MOST} interactions to learn from, heavy "
        f"ones at least {HEAVY_USER_FROM}; head items are the fewest that make up half of the interactions."
    )


def _slices(evaluations: Mapping[Split, Mapping[str, Evaluation]], served: str) -> dict[str, Metrics]:
    table: dict[str, Metrics] = {}
    for how, by_algorithm in evaluations.items():
        for name, evaluation in by_algorithm.items():
            table[f"split={how}, model={name}"] = dict(evaluation.metrics)
    for name, metrics in evaluations["random"][served].slices.items():
        table[name] = dict(metrics)
    return table


def _hyperparameters(algorithms: Mapping[str, AnyAlgorithm]) -> dict[str, Scalar]:
    parameters: dict[str, Scalar] = {}
    for name, algorithm in algorithms.items():
        for key, value in dataclasses.asdict(algorithm.params).items():
            parameters[f"{name}.{key}"] = (
                value if isinstance(value, (str, int, float, bool)) else "+".join(map(str, value))
            )
        if isinstance(algorithm, TwoStage):
            shares = sorted(algorithm.importance().items(), key=lambda item: -item[1])
            parameters |= {f"{name}.gain of {feature}": round(share, 4) for feature, share in shares}
    return parameters


def _profile(dataset: Dataset, served: AnyAlgorithm) -> Profile:
    """Return histograms of interactions per user, interactions per item, and scores of users' ten best items."""
    users = np.linspace(0, dataset.users - 1, min(_SCORED_USERS, dataset.users)).astype(np.int64)
    _, scores = served.recommend(users, 10)
    shown = scores[np.isfinite(scores)]
    return Profile(
        rows=dataset.interactions.nnz,
        numeric={
            "user_activity": numeric_profile(dataset.activity()),
            "item_popularity": numeric_profile(dataset.popularity()),
        },
        outputs={"score": numeric_profile(shown)} if len(shown) else {},
    )

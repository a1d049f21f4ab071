"""The learned ranker of a two-level recommender: LambdaRank on trees, in LightGBM's text format.

Burges, "From RankNet to LambdaRank to LambdaMART", 2010. Knows features and groups, not what they mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactInvalid

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RankerParams:
    """`patience`: rounds without a better ndcg@10 on the validation groups before growing stops."""

    rounds: int = 200
    patience: int = 100
    leaves: int = 7
    min_leaf_rows: int = 300
    learning_rate: float = 0.02
    feature_share: float = 0.3
    seed: int = 0
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Groups:
    """Candidates of several users: features (rows, F), which are relevant, and how many belong to each user in turn."""

    features: Floats
    is_relevant: NDArray[np.bool_]
    sizes: NDArray[np.int64]


class Ranker:
    """A forest. Safe to call from several threads at once."""

    def __init__(self, text: str) -> None:
        try:
            import lightgbm
        except ImportError as error:
            raise ArtifactInvalid(
                "its ranker needs lightgbm, which is not installed; run: pip install lightgbm"
            ) from error
        self.text = text
        self._trees: Any = lightgbm.Booster(model_str=text)  # Any: lightgbm has few types

    def score(self, features: Floats) -> Floats:
        """One number per row, higher is better."""
        if not len(features):
            return np.empty(0, np.float32)
        return np.asarray(self._trees.predict(features, num_threads=1), np.float32)

    def importance(self) -> dict[str, float]:
        """Share of the gain that each feature brought."""
        gains = self._trees.feature_importance("gain")
        return dict(zip(self._trees.feature_name(), (gains / max(gains.sum(), 1e-9)).tolist(), strict=True))


def learn(
    train: Groups,
    validation: Groups,
    *,
    names: tuple[str, ...],
    directions: tuple[int, ...],
    params: RankerParams,
) -> Ranker:
    """Grow trees on `train` until `validation` gets no better; then grow as many on both together.

    `directions` holds 1 for features with which the score may only rise, 0 for others.
    """
    import lightgbm

    columns = [name.replace(" ", "_") for name in names]
    options = _options(params, directions)
    first = lightgbm.Dataset(train.features, train.is_relevant, group=train.sizes, feature_name=columns)
    second = first.create_valid(validation.features, validation.is_relevant, group=validation.sizes)
    stopping = lightgbm.early_stopping(params.patience, first_metric_only=True, verbose=False)
    found = lightgbm.train(options, first, params.rounds, valid_sets=[second], callbacks=[stopping])
    both = lightgbm.Dataset(
        np.concatenate((train.features, validation.features)),
        np.concatenate((train.is_relevant, validation.is_relevant)),
        group=np.concatenate((train.sizes, validation.sizes)),
        feature_name=columns,
    )
    trees = lightgbm.train(options, both, max(1, found.best_iteration))
    return Ranker(trees.model_to_string())


def _options(params: RankerParams, directions: tuple[int, ...]) -> dict[str, Any]:  # Any: lightgbm's own
    return {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [10],
        "lambdarank_truncation_level": 20,
        "num_leaves": params.leaves,
        "min_data_in_leaf": params.min_leaf_rows,
        "learning_rate": params.learning_rate,
        "feature_fraction": params.feature_share,
        "monotone_constraints": list(directions),
        "max_bin": 63,
        "seed": params.seed,
        "num_threads": params.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }

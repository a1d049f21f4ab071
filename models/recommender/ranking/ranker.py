"""The ranker of a two-stage recommender: LambdaRank on trees, or pointwise boosting as the baseline.

Burges, "From RankNet to LambdaRank to LambdaMART", 2010. The trained model is stored in the text format of LightGBM and
served as an ONNX graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.onnx_session import open_session, run_session
from models.recommender.ranking.trees_onnx import to_onnx
from models.trees import TreeEnsemble, from_histograms, from_lightgbm, gains

Floats = NDArray[np.float32]
RankerKind = Literal["lambdarank", "histogram"]


@dataclass(frozen=True, slots=True)
class RankerParams:
    """`kind`: "lambdarank" of LightGBM, or "histogram", pointwise boosting of scikit-learn.

    `patience`: rounds without a better nDCG@10 (histogram: loss) on the validation groups before training stops.
    `threads`: threads of LightGBM. On a busy machine two threads wait for each other: 30 s instead of 3 s.
    """

    kind: RankerKind = "lambdarank"
    rounds: int = 200
    patience: int = 50
    leaves: int = 7
    min_leaf_rows: int = 300
    learning_rate: float = 0.03
    feature_share: float = 0.3
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True, slots=True)
class RankingGroups:
    """Candidates of several users: features (rows, F), relevance, and the number of candidates of each user."""

    features: Floats
    is_relevant: NDArray[np.bool_]
    sizes: NDArray[np.int64]


def concatenate_groups(parts: list[RankingGroups]) -> RankingGroups:
    """Concatenate the groups of several parts."""
    return RankingGroups(
        np.concatenate([each.features for each in parts]),
        np.concatenate([each.is_relevant for each in parts]),
        np.concatenate([each.sizes for each in parts]),
    )


class Ranker:
    """A tree ensemble. Thread-safe. `text` is the model in the format of LightGBM, "" for another library."""

    def __init__(self, graph: bytes, text: str = "") -> None:
        self.graph = graph
        self.text = text
        self._session = open_session(graph)

    def score(self, features: Floats) -> Floats:
        """Return one score per row, higher is better."""
        if not len(features):
            return np.empty(0, np.float32)
        return run_session(self._session, np.ascontiguousarray(features))[:, 0]

    def importance(self) -> dict[str, float]:
        """Return the share of the gain per feature; empty when the library does not report it."""
        return gains(self.text) if self.text else {}


def train_ranker(
    train: RankingGroups,
    validation: RankingGroups,
    *,
    feature_names: tuple[str, ...],
    constraints: tuple[int, ...],
    params: RankerParams,
) -> Ranker:
    """Train trees on `train` with early stopping on `validation`, then the same number of trees on both.

    `constraints` holds 1 for features in which the score must be monotonically increasing, else 0.
    """
    if params.kind == "histogram":
        return Ranker(to_onnx(_histograms(train, validation, constraints, params)))
    text = _lambdarank(train, validation, feature_names, constraints, params)
    return Ranker(to_onnx(from_lightgbm(text)), text)


def _lambdarank(
    train: RankingGroups,
    validation: RankingGroups,
    feature_names: tuple[str, ...],
    constraints: tuple[int, ...],
    params: RankerParams,
) -> str:
    import lightgbm

    options, columns = _options(params, constraints), list(feature_names)
    first = lightgbm.Dataset(train.features, train.is_relevant, group=train.sizes, feature_name=columns)
    second = first.create_valid(validation.features, validation.is_relevant, group=validation.sizes)
    stopping = lightgbm.early_stopping(params.patience, first_metric_only=True, verbose=False)
    stopped = lightgbm.train(options, first, params.rounds, valid_sets=[second], callbacks=[stopping])
    both = concatenate_groups([train, validation])
    dataset = lightgbm.Dataset(both.features, both.is_relevant, group=both.sizes, feature_name=columns)
    text: str = lightgbm.train(options, dataset, max(1, stopped.best_iteration)).model_to_string()
    return text


def _options(params: RankerParams, constraints: tuple[int, ...]) -> dict[str, Any]:  # Any: options of lightgbm
    return {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [10],
        "lambdarank_truncation_level": 20,
        "num_leaves": params.leaves,
        "min_data_in_leaf": params.min_leaf_rows,
        "learning_rate": params.learning_rate,
        "feature_fraction": params.feature_share,
        "monotone_constraints": list(constraints),
        "max_bin": 63,
        "seed": params.seed,
        "num_threads": params.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }


def _histograms(
    train: RankingGroups, validation: RankingGroups, constraints: tuple[int, ...], params: RankerParams
) -> TreeEnsemble:
    from sklearn.ensemble import HistGradientBoostingClassifier

    def model(rounds: int, **more: object) -> Any:  # Any: scikit-learn has no types
        return HistGradientBoostingClassifier(
            learning_rate=params.learning_rate,
            max_iter=rounds,
            max_leaf_nodes=params.leaves,
            min_samples_leaf=params.min_leaf_rows,
            monotonic_cst=list(constraints),
            max_features=params.feature_share,
            max_bins=63,
            random_state=params.seed,
            **more,
        )

    stopped = model(params.rounds, early_stopping=True, n_iter_no_change=params.patience).fit(
        train.features, train.is_relevant, X_val=validation.features, y_val=validation.is_relevant
    )
    rounds = int(np.argmax(stopped.validation_score_[1:])) + 1
    both = concatenate_groups([train, validation])
    return from_histograms(model(rounds, early_stopping=False).fit(both.features, both.is_relevant))

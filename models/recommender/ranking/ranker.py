"""The learned ranker of a two-level recommender: LambdaRank on trees, or pointwise boosting as the baseline.

Burges, "From RankNet to LambdaRank to LambdaMART", 2010. What is learned is kept in LightGBM's text format; what
answers is the same forest as an ONNX graph. Knows features and groups, not what they mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.recommender.ranking.trees_onnx import from_lightgbm, gains, to_onnx
from models.tabular.model import answer, open_session
from models.trees import TreeEnsemble, from_histograms

Floats = NDArray[np.float32]
Kind = Literal["lambdarank", "histogram"]


@dataclass(frozen=True, slots=True)
class RankerParams:
    """`kind`: "lambdarank" is LightGBM's, "histogram" scikit-learn's boosting of each pair on its own.

    `patience`: rounds without a better ndcg@10 (histogram: loss) on the validation groups before growing stops.
    `threads`: of LightGBM. Two of them wait for each other where a machine has other work: 30 s then, not 3.
    """

    kind: Kind = "lambdarank"
    rounds: int = 200
    patience: int = 50
    leaves: int = 7
    min_leaf_rows: int = 300
    learning_rate: float = 0.03
    feature_share: float = 0.3
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Groups:
    """Candidates of several users: features (rows, F), which are relevant, and how many belong to each user in turn."""

    features: Floats
    is_relevant: NDArray[np.bool_]
    sizes: NDArray[np.int64]


def joined(parts: list[Groups]) -> Groups:
    """All groups of several parts, one after the other."""
    return Groups(
        np.concatenate([each.features for each in parts]),
        np.concatenate([each.is_relevant for each in parts]),
        np.concatenate([each.sizes for each in parts]),
    )


class Ranker:
    """A forest. Safe to call from several threads at once. `text` is LightGBM's, "" of another library's forest."""

    def __init__(self, graph: bytes, text: str = "") -> None:
        self.graph = graph
        self.text = text
        self._session = open_session(graph)

    def score(self, features: Floats) -> Floats:
        """One number per row, higher is better."""
        if not len(features):
            return np.empty(0, np.float32)
        return answer(self._session, np.ascontiguousarray(features))[:, 0]

    def importance(self) -> dict[str, float]:
        """Share of the gain that each feature brought; empty where the library does not tell."""
        return gains(self.text) if self.text else {}


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
    if params.kind == "histogram":
        return Ranker(to_onnx(_histograms(train, validation, directions, params)))
    text = _lambdarank(train, validation, names, directions, params)
    return Ranker(to_onnx(from_lightgbm(text)), text)


def _lambdarank(
    train: Groups, validation: Groups, names: tuple[str, ...], directions: tuple[int, ...], params: RankerParams
) -> str:
    import lightgbm

    options, columns = _options(params, directions), list(names)
    first = lightgbm.Dataset(train.features, train.is_relevant, group=train.sizes, feature_name=columns)
    second = first.create_valid(validation.features, validation.is_relevant, group=validation.sizes)
    stopping = lightgbm.early_stopping(params.patience, first_metric_only=True, verbose=False)
    found = lightgbm.train(options, first, params.rounds, valid_sets=[second], callbacks=[stopping])
    both = joined([train, validation])
    again = lightgbm.Dataset(both.features, both.is_relevant, group=both.sizes, feature_name=columns)
    text: str = lightgbm.train(options, again, max(1, found.best_iteration)).model_to_string()
    return text


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


def _histograms(train: Groups, validation: Groups, directions: tuple[int, ...], params: RankerParams) -> TreeEnsemble:
    from sklearn.ensemble import HistGradientBoostingClassifier

    def model(rounds: int, **more: object) -> Any:  # Any: scikit-learn has no types
        return HistGradientBoostingClassifier(
            learning_rate=params.learning_rate,
            max_iter=rounds,
            max_leaf_nodes=params.leaves,
            min_samples_leaf=params.min_leaf_rows,
            monotonic_cst=list(directions),
            max_features=params.feature_share,
            max_bins=63,
            random_state=params.seed,
            **more,
        )

    stopped = model(params.rounds, early_stopping=True, n_iter_no_change=params.patience).fit(
        train.features, train.is_relevant, X_val=validation.features, y_val=validation.is_relevant
    )
    rounds = int(np.argmax(stopped.validation_score_[1:])) + 1
    both = joined([train, validation])
    return from_histograms(model(rounds, early_stopping=False).fit(both.features, both.is_relevant))

"""A two-stage recommender: several retrievers generate candidates, and a trained ranker orders them.

The ranker must train on scores of items that the retrievers were not fitted on. The data is therefore split into folds;
retrievers fitted without a fold score the users, and the items of the fold are relevant. Then the retrievers are fitted
on all data. Negatives are not sampled at random: they are the highest ranked candidates outside the fold, which the
ranker has to distinguish from relevant items.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.blas import use_threads
from models.cores import usable_cores
from models.errors import InvalidInput
from models.recommender.algorithms.base import Algorithm, Arrays, Capability, Progress, row_blocks
from models.recommender.algorithms.top_k import Items, Scores
from models.recommender.dataset.dataset import Dataset, Rows, filter_interactions
from models.recommender.ranking.candidates import (
    RetrieverScores,
    feature_names,
    monotone_constraints,
    standardise_within_rows,
)
from models.recommender.ranking.features import RankingFeatures
from models.recommender.ranking.folds import assign_folds
from models.recommender.ranking.progress import StepCounter
from models.recommender.ranking.ranker import (
    Ranker,
    RankerKind,
    RankerParams,
    RankingGroups,
    concatenate_groups,
    train_ranker,
)

# Any: each algorithm has a dataclass of hyperparameters.
AnyAlgorithm = Algorithm[Any]

_RANKER = "ranker"
_GRAPH = "ranker.graph"
_MIN_INTERACTIONS = 400
_MIN_RELEVANT = 100


@dataclass(frozen=True, slots=True)
class TwoStageParams:
    """`weights`: weight of a retriever's ranks in the blend, as "NAME=NUMBER"; default 1.

    `settings`: hyperparameters of retrievers that differ from the defaults, as "NAME.HYPERPARAMETER=JSON".
    `candidates`: number per user, selected by the blend. `folds`: number of folds. `ranker`: see `RankerParams.kind`.
    `ranker_weight`: weight of the ranker in the final score; the blend has the rest.
    """

    retrievers: tuple[str, ...] = ("ease-session", "lightfm-warp", "als")
    weights: tuple[str, ...] = ("als=0.2",)
    settings: tuple[str, ...] = ()
    candidates: int = 60
    folds: int = 4
    ranker: RankerKind = "lambdarank"
    ranker_weight: float = 0.5
    rounds: int = 200
    leaves: int = 7
    learning_rate: float = 0.03
    seed: int = 0


class TwoStage(Algorithm[TwoStageParams]):
    """Candidates of several algorithms, ordered by a ranker, or by the blend with too little training data."""

    name = "two-level"
    params_type = TwoStageParams
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"known_users", "history", "user_features", "similar_items", "similar_users", "explanations"}
    )
    """The capabilities with the default retrievers; `supports` depends on the actual retrievers."""
    reads_attributes = True
    retriever_types: ClassVar[Mapping[str, type[AnyAlgorithm]]] = {}
    """Algorithms that may be retrievers, by name. The registry sets it."""

    retrievers_: dict[str, AnyAlgorithm]
    ranker_: Ranker | None
    ranking_features_: RankingFeatures

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        folds = self.params.folds if dataset.interactions.nnz >= _MIN_INTERACTIONS else 0
        fold_of = assign_folds(dataset, folds, self.params.seed)
        splits = [
            (filter_interactions(dataset, fold_of != fold), filter_interactions(dataset, fold_of == fold))
            for fold in range(folds)
        ]
        steps = StepCounter(progress, (folds + 1) * len(self.params.retrievers) + 1)
        # Folds are independent and training releases the GIL: train as many at once as there are cores, each with one
        # BLAS thread.
        with use_threads(1), ThreadPoolExecutor(max(1, min(usable_cores(), folds))) as pool:
            fitting = pool.submit(self._fit_retrievers, dataset, steps)
            groups = list(pool.map(lambda parts: self._groups(parts[0], parts[1], steps), splits))
            self.retrievers_ = fitting.result()
        self.ranker_ = self._train_ranker(groups)
        self.ranking_features_ = RankingFeatures(dataset)
        steps.of_one()(1, 1)

    def score(self, user_rows: Rows) -> Scores:
        return self._score(user_rows, hides_seen=False)

    def score_unseen(self, user_rows: Rows) -> Scores:
        # Otherwise half of the candidates would be seen items.
        return self._score(user_rows, hides_seen=True)

    def _score(self, user_rows: Rows, *, hides_seen: bool) -> Scores:
        scores = {name: each.score(user_rows) for name, each in self.retrievers_.items()}
        features = self.ranking_features_
        seen, moments = self.dataset_.histories(user_rows), features.last_times(user_rows)
        return self._final_scores(self._view(scores, seen, moments, hides_seen=hides_seen), features, user_rows)

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        if not self.supports("history"):
            raise self.unsupported("history")
        scores = {name: each.score_histories(histories) for name, each in self.retrievers_.items()}
        features = self.ranking_features_
        # A request with a history is as of the end of the data.
        now = np.full(histories.shape[0], features.newest, np.int64)
        return self._final_scores(self._view(scores, histories, now, hides_seen=False), features, None)

    def score_features(self, user_features: sparse.csr_array) -> Scores:
        return self._retriever_for("user_features").score_features(user_features)

    def similar_items(self, item_rows: Rows, n: int) -> tuple[Items, Scores]:
        return self._retriever_for("similar_items").similar_items(item_rows, n)

    def similar_users(self, user_rows: Rows, n: int) -> tuple[Items, Scores]:
        return self._retriever_for("similar_users").similar_users(user_rows, n)

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        return self._retriever_for("explanations").explain(histories, items, n)

    def supports(self, capability: Capability) -> bool:
        """Return whether both stages, all retrievers, or one retriever provide the capability."""
        if capability == "known_users":
            return True
        if capability == "history":
            return all(_class_supports(algorithm, capability) for algorithm in self._retriever_classes().values())
        return capability != "anyone" and self._first_supporting(capability) is not None

    def refresh(self, user_features: sparse.csr_array | None, item_features: sparse.csr_array | None) -> None:
        changed = dataclasses.replace(self.dataset_, user_features=user_features, item_features=item_features)
        self.ranking_features_ = RankingFeatures(changed, is_now=True)

    def arrays(self) -> Arrays:
        arrays = {
            f"{name}.{key}": array for name, each in self.retrievers_.items() for key, array in each.arrays().items()
        }
        return arrays if self.ranker_ is None else {**arrays, _GRAPH: np.frombuffer(self.ranker_.graph, np.uint8)}

    def texts(self) -> Mapping[str, str]:
        return {} if self.ranker_ is None or not self.ranker_.text else {_RANKER: self.ranker_.text}

    def importance(self) -> dict[str, float]:
        """Return the share of the ranker's gain per feature; empty without a ranker."""
        return {} if self.ranker_ is None else self.ranker_.importance()

    def candidate_features(self, user_rows: Rows) -> NDArray[np.float32]:
        """Return the inputs of the ranker for all candidates of these users, (pairs, features)."""
        scores = {name: each.score(user_rows) for name, each in self.retrievers_.items()}
        seen, moments = self.dataset_.histories(user_rows), self.ranking_features_.last_times(user_rows)
        view = self._view(scores, seen, moments, hides_seen=True)
        return view.features(self.ranking_features_, view.pairs(self.params.candidates), user_rows)

    def ranked(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scores of the ranker, (pairs,); zeros without one."""
        return np.zeros(len(features), np.float32) if self.ranker_ is None else self.ranker_.score(features)

    def retriever(self, name: str) -> AnyAlgorithm:
        """Create an unfitted retriever with its hyperparameters. Raise InvalidInput for an unknown one."""
        if name not in self.retriever_types:
            raise InvalidInput(
                f"'{name}' cannot be a retriever of {self.name}; known: {', '.join(self.retriever_types)}"
            )
        algorithm = self.retriever_types[name]
        known = {field.name for field in dataclasses.fields(algorithm.params_type)}
        values: dict[str, Any] = {"seed": self.params.seed} if "seed" in known else {}  # Any: types of the fields
        for setting in self.params.settings:
            target, _, value = setting.partition("=")
            owner, _, key = target.rpartition(".")
            if owner == name and key not in known:
                raise InvalidInput(f"retriever '{name}' has no parameter '{key}'; known: {', '.join(sorted(known))}")
            if owner == name:
                values[key] = json.loads(value)
        return algorithm(algorithm.params_type(**values))

    def _restore(self, arrays: Arrays) -> None:
        self.retrievers_ = {}
        for name in self.params.retrievers:
            parts = {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}
            self.retrievers_[name] = self.retriever(name).restore(parts, self.dataset_)
        self.ranking_features_ = RankingFeatures(self.dataset_)
        self.ranker_ = Ranker(arrays[_GRAPH].tobytes()) if _GRAPH in arrays else None

    def _restore_texts(self, texts: Mapping[str, str]) -> None:
        if self.ranker_ is not None:
            self.ranker_.text = texts.get(_RANKER, "")

    def _retriever_for(self, capability: Capability) -> AnyAlgorithm:
        name = self._first_supporting(capability)
        if name is None:
            raise self.unsupported(capability)
        return self.retrievers_[name]

    def _first_supporting(self, capability: Capability) -> str | None:
        """Return the name of the first retriever with a capability, fitted or not."""
        return next(
            (name for name, algorithm in self._retriever_classes().items() if _class_supports(algorithm, capability)),
            None,
        )

    def _retriever_classes(self) -> dict[str, type[AnyAlgorithm]]:
        return {name: self.retriever_types[name] for name in self.params.retrievers if name in self.retriever_types}

    def _weights(self) -> dict[str, float]:
        weights = {name: float(weight) for name, _, weight in (each.partition("=") for each in self.params.weights)}
        return {name: weights.get(name, 1.0) for name in self.params.retrievers}

    def _fit_retrievers(self, dataset: Dataset, steps: StepCounter) -> dict[str, AnyAlgorithm]:
        return {name: self.retriever(name).fit(dataset, progress=steps.of_one()) for name in self.params.retrievers}

    def _groups(self, rest: Dataset, held_back: Dataset, steps: StepCounter) -> RankingGroups:
        """Return the candidates of retrievers fitted on `rest`, for users with items in `held_back`."""
        retrievers, features = self._fit_retrievers(rest, steps), RankingFeatures(rest)
        users = np.flatnonzero((held_back.activity() > 0) & (rest.activity() > 0))
        parts = []
        for block in row_blocks(len(users), rest.items):
            rows = users[block]
            scores = {name: each.score(rows) for name, each in retrievers.items()}
            view = self._view(scores, rest.histories(rows), features.last_times(rows), hides_seen=True)
            pairs = view.pairs(self.params.candidates)
            is_held_back = held_back.interactions[rows].toarray() > 0
            sizes = np.bincount(pairs[0], minlength=len(rows))
            parts.append(RankingGroups(view.features(features, pairs, rows), is_held_back[pairs], sizes))
        if not parts:
            return RankingGroups(np.empty((0, 0), np.float32), np.empty(0, bool), np.empty(0, int))
        return concatenate_groups(parts)

    def _train_ranker(self, groups: list[RankingGroups]) -> Ranker | None:
        usable = [each for each in groups if each.is_relevant.any()]
        if len(usable) < 2 or sum(int(each.is_relevant.sum()) for each in usable) < _MIN_RELEVANT:
            return None
        params = RankerParams(
            kind=self.params.ranker,
            rounds=self.params.rounds,
            leaves=self.params.leaves,
            learning_rate=self.params.learning_rate,
            seed=self.params.seed,
        )
        retrievers = self.params.retrievers
        return train_ranker(
            concatenate_groups(usable[:-1]),
            usable[-1],
            feature_names=feature_names(retrievers),
            constraints=monotone_constraints(retrievers),
            params=params,
        )

    def _view(
        self, scores: Mapping[str, Scores], seen: sparse.csr_array, as_of: NDArray[np.int64], *, hides_seen: bool
    ) -> RetrieverScores:
        return RetrieverScores(scores, seen, as_of, self._weights(), hides_seen=hides_seen)

    def _final_scores(self, view: RetrieverScores, features: RankingFeatures, users: Rows | None) -> Scores:
        """Return one score per item: 1 to 2 for candidates, by ranker and blend; below 1 for others, by the blend."""
        final = np.asarray(np.exp(np.minimum(view.blend, 0)), np.float32)
        if self.ranker_ is None:
            return final
        pairs = view.pairs(self.params.candidates)
        is_unseen = view.is_unseen(pairs)
        ranked = self.ranker_.score(view.features(features, pairs, users))
        ranked, blend = (
            standardise_within_rows(each, pairs[0], len(final), is_unseen) for each in (ranked, view.blend[pairs])
        )
        mixed = self.params.ranker_weight * ranked + (1 - self.params.ranker_weight) * blend
        final[pairs] = 1 + 1 / (1 + np.exp(-mixed))
        return final


def _class_supports(algorithm: type[AnyAlgorithm], capability: Capability) -> bool:
    # Non-personalised algorithms ignore attributes; the strategy falls back to the segment instead.
    is_personal = capability != "user_features" or "anyone" not in algorithm.capabilities
    return is_personal and capability in algorithm.capabilities

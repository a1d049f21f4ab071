"""Two levels: several retrievers name candidates, and a learned ranker orders them by what is known of each.

The ranker must see scores as they are for items that the retrievers have not learned from. So the data is cut into
folds; retrievers fitted without a fold score the users, and what each user did in that fold is what is relevant. Then
the retrievers are fitted again on everything. Negatives are not sampled at random: they are the candidates that the
retrievers rank highest among those not in the fold, which is what the ranker has to tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.errors import InvalidInput
from models.recommender.base import Algorithm, Arrays, Capability, Progress, blocks, no_progress
from models.recommender.candidates import Facts, blended, directions, names, places, standard
from models.recommender.dataset import Dataset, Rows, where
from models.recommender.ranker import Groups, Ranker, RankerParams, learn
from models.recommender.selection import Items, Scores

# Any: every algorithm has its own dataclass of hyperparameters.
AnyAlgorithm = Algorithm[Any]

_TEXT = "ranker"
_LEAST_INTERACTIONS = 400
_LEAST_RELEVANT = 100


@dataclass(frozen=True, slots=True)
class TwoLevelParams:
    """`candidates`: kept per user, by the mean logarithm of their places with all retrievers.

    `folds`: parts of the data that are held back in turn. `ranker_weight`: share of the ranker in the final order; the
    rest is the plain mean of places.
    """

    retrievers: tuple[str, ...] = ("lightfm-warp", "als", "bpr", "lmf", "fastrp", "ease")
    candidates: int = 60
    folds: int = 4
    ranker_weight: float = 0.5
    rounds: int = 200
    leaves: int = 7
    learning_rate: float = 0.02
    seed: int = 0


class TwoLevel(Algorithm[TwoLevelParams]):
    """Candidates of several algorithms, ordered by LambdaRank; by mean place where data is too little to learn from."""

    name = "two-level"
    params_type = TwoLevelParams
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"known_users", "history", "user_features", "similar_items", "similar_users", "explanations"}
    )
    kinds: ClassVar[Mapping[str, type[AnyAlgorithm]]] = {}
    """Algorithms that may be retrievers, by name. Set by the registry, which knows them."""

    retrievers_: dict[str, AnyAlgorithm]
    ranker_: Ranker | None
    facts_: Facts

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        folds = self.params.folds if dataset.interactions.nnz >= _LEAST_INTERACTIONS else 0
        steps = folds + 2
        parts = _parts(dataset, folds, self.params.seed)
        groups = []
        for fold in range(folds):
            groups.append(self._groups(where(dataset, parts != fold), where(dataset, parts == fold)))
            progress(fold + 1, steps)
        self.ranker_ = self._learned(groups)
        progress(steps - 1, steps)
        self.retrievers_ = self._fitted(dataset)
        self.facts_ = Facts(dataset)
        progress(steps, steps)

    def score(self, user_rows: Rows) -> Scores:
        scores = {name: each.score(user_rows) for name, each in self.retrievers_.items()}
        return self._ordered(scores, self.dataset_.histories(user_rows), self.facts_.last_times(user_rows))

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        able = {name: each for name, each in self.retrievers_.items() if each.can("history")}
        if len(able) != len(self.retrievers_):
            raise self.cannot("history")
        scores = {name: each.score_histories(histories) for name, each in able.items()}
        # Whoever comes with a list of items comes now, which is the end of the data.
        return self._ordered(scores, histories, np.full(histories.shape[0], self.facts_.newest, np.int64))

    def score_features(self, user_features: sparse.csr_array) -> Scores:
        return self._first("user_features").score_features(user_features)

    def similar_items(self, item_rows: Rows, n: int) -> tuple[Items, Scores]:
        return self._first("similar_items").similar_items(item_rows, n)

    def similar_users(self, user_rows: Rows, n: int) -> tuple[Items, Scores]:
        return self._first("similar_users").similar_users(user_rows, n)

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        return self._first("explanations").explain(histories, items, n)

    def arrays(self) -> Arrays:
        return {
            f"{name}.{key}": array for name, each in self.retrievers_.items() for key, array in each.arrays().items()
        }

    def texts(self) -> Mapping[str, str]:
        return {} if self.ranker_ is None else {_TEXT: self.ranker_.text}

    def importance(self) -> dict[str, float]:
        """Share of the ranker's gain that each feature brought; empty without a ranker."""
        return {} if self.ranker_ is None else self.ranker_.importance()

    def _restore(self, arrays: Arrays) -> None:
        self.retrievers_ = {}
        for name in self.params.retrievers:
            own = {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}
            self.retrievers_[name] = self._new(name).restore(own, self.dataset_)
        self.facts_ = Facts(self.dataset_)
        self.ranker_ = None

    def _restore_texts(self, texts: Mapping[str, str]) -> None:
        self.ranker_ = Ranker(texts[_TEXT]) if _TEXT in texts else None

    def _new(self, name: str) -> AnyAlgorithm:
        if name not in self.kinds:
            raise InvalidInput(f"'{name}' cannot be a retriever of {self.name}; known: {', '.join(self.kinds)}")
        return self.kinds[name]()

    def _first(self, capability: Capability) -> AnyAlgorithm:
        able = next((each for each in self.retrievers_.values() if each.can(capability)), None)
        if able is None:
            raise self.cannot(capability)
        return able

    def _fitted(self, dataset: Dataset) -> dict[str, AnyAlgorithm]:
        return {name: self._new(name).fit(dataset, progress=no_progress) for name in self.params.retrievers}

    def _groups(self, rest: Dataset, held_back: Dataset) -> Groups:
        """Candidates of retrievers that have seen `rest`, for users with something in `held_back`."""
        retrievers, facts = self._fitted(rest), Facts(rest)
        users = np.flatnonzero((held_back.activity() > 0) & (rest.activity() > 0))
        features, relevant, sizes = [], [], []
        for block in blocks(len(users), rest.items):
            rows = users[block]
            seen = rest.histories(rows)
            scores = {name: each.score(rows) for name, each in retrievers.items()}
            shown, pairs = self._features(scores, seen, facts, facts.last_times(rows), hides_seen=True)
            features.append(shown)
            wanted = held_back.interactions[rows].toarray() > 0
            relevant.append(wanted[pairs])
            sizes.append(np.bincount(pairs[0], minlength=len(rows)))
        width = len(names(self.params.retrievers))
        return Groups(
            np.concatenate(features) if features else np.empty((0, width), np.float32),
            np.concatenate(relevant) if relevant else np.empty(0, bool),
            np.concatenate(sizes) if sizes else np.empty(0, np.int64),
        )

    def _learned(self, groups: list[Groups]) -> Ranker | None:
        usable = [each for each in groups if each.is_relevant.any()]
        if len(usable) < 2 or sum(int(each.is_relevant.sum()) for each in usable) < _LEAST_RELEVANT:
            return None
        train = Groups(
            np.concatenate([each.features for each in usable[:-1]]),
            np.concatenate([each.is_relevant for each in usable[:-1]]),
            np.concatenate([each.sizes for each in usable[:-1]]),
        )
        params = RankerParams(
            rounds=self.params.rounds,
            leaves=self.params.leaves,
            learning_rate=self.params.learning_rate,
            seed=self.params.seed,
        )
        retrievers = self.params.retrievers
        return learn(train, usable[-1], names=names(retrievers), directions=directions(retrievers), params=params)

    def _features(
        self,
        scores: Mapping[str, Scores],
        seen: sparse.csr_array,
        facts: Facts,
        as_of: NDArray[np.int64],
        *,
        hides_seen: bool,
    ) -> tuple[NDArray[np.float32], tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Features of the candidates, and the pairs of row and item that they are."""
        ranked = {name: places(each, seen) for name, each in scores.items()}
        blend = blended(ranked)
        pairs = _best_pairs(blend, seen, self.params.candidates, hides_seen=hides_seen)
        columns = [standard(each)[pairs] for each in scores.values()]
        columns += [-np.log1p(each[pairs]) for each in ranked.values()]
        columns.append(blend[pairs])
        return np.column_stack([*columns, facts.of(seen, as_of, pairs)]).astype(np.float32), pairs

    def _ordered(self, scores: Mapping[str, Scores], seen: sparse.csr_array, as_of: NDArray[np.int64]) -> Scores:
        """One score per item: 1 to 2 for candidates, by ranker and blend; below 1 for all others, by the blend."""
        blend = blended({name: places(each, seen) for name, each in scores.items()})
        final = np.asarray(np.exp(np.minimum(blend, 0)), np.float32)
        if self.ranker_ is None:
            return final
        features, pairs = self._features(scores, seen, self.facts_, as_of, hides_seen=False)
        margins = np.full(blend.shape, np.nan, np.float32)
        margins[pairs] = self.ranker_.score(features)
        chosen = np.where(np.isnan(margins), np.nan, blend)
        weight = self.params.ranker_weight
        mixed = weight * _standard_among(margins) + (1 - weight) * _standard_among(chosen)
        final[pairs] = (1 + 1 / (1 + np.exp(-mixed[pairs]))).astype(np.float32)
        return final


def _best_pairs(
    blend: NDArray[np.float32], seen: sparse.csr_array, count: int, *, hides_seen: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and items at or above the place of the `count`-th best unseen item of the row."""
    open_ = np.array(blend)
    open_[np.repeat(np.arange(seen.shape[0]), np.diff(seen.indptr)), seen.indices] = -np.inf
    kept = min(count, blend.shape[1])
    border = np.partition(open_, -kept, axis=1)[:, -kept]
    chosen = (open_ if hides_seen else blend) >= np.where(np.isneginf(border), -np.finfo(np.float32).max, border)[
        :, None
    ]
    rows, items = np.nonzero(chosen)
    return rows, items


def _standard_among(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of mean 0 and deviation 1 over what is not NaN."""
    is_there = ~np.isnan(values)
    count = np.maximum(is_there.sum(axis=1, keepdims=True), 1)
    mean = np.where(is_there, values, 0).sum(axis=1, keepdims=True) / count
    centred = np.where(is_there, values - mean, 0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1), np.float32)


def _parts(dataset: Dataset, folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each stored interaction; each user's are dealt out evenly, beginning anywhere."""
    random = np.random.default_rng(seed)
    matrix = dataset.interactions
    rows = np.repeat(np.arange(dataset.users), np.diff(matrix.indptr))
    order = np.lexsort((random.random(matrix.nnz), rows))
    dealt = np.empty(matrix.nnz, np.int64)
    dealt[order] = np.arange(matrix.nnz) - matrix.indptr[rows[order]]
    return np.asarray((dealt + random.integers(0, max(1, folds), dataset.users)[rows]) % max(1, folds))

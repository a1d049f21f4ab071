"""Two levels: several retrievers name candidates, and a learned ranker orders them by what is known of each.

The ranker must see scores as they are for items that the retrievers have not learned from. So the data is cut into
folds; retrievers fitted without a fold score the users, and what each user did in that fold is what is relevant. Then
the retrievers are fitted again on everything. Negatives are not sampled at random: they are the candidates that the
retrievers rank highest among those not in the fold, which is what the ranker has to tell apart.
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
from models.recommender.algorithms.base import Algorithm, Arrays, Capability, Progress, blocks, no_progress
from models.recommender.algorithms.top_k import Items, Scores
from models.recommender.dataset.dataset import Dataset, Rows, stored_rows, where
from models.recommender.ranking.candidates import View, directions, names, standard_within
from models.recommender.ranking.features import RankingFeatures
from models.recommender.ranking.ranker import Groups, Kind, Ranker, RankerParams, joined, learn

# Any: every algorithm has its own dataclass of hyperparameters.
AnyAlgorithm = Algorithm[Any]

_RANKER = "ranker"
_GRAPH = "ranker.graph"
_LEAST_INTERACTIONS = 400
_LEAST_RELEVANT = 100


@dataclass(frozen=True, slots=True)
class TwoStageParams:
    """`weights`: what a retriever's places count in the blend, as "NAME=NUMBER"; 1 for those that are not named.

    `settings`: hyperparameters of retrievers that are not the default ones, as "NAME.HYPERPARAMETER=JSON".
    `candidates`: kept per user, by the blend. `folds`: parts of the data that are held back in turn. `ranker`: see
    `RankerParams.kind`. `ranker_weight`: share of the ranker in the final order; the rest is the blend's.
    """

    retrievers: tuple[str, ...] = ("ease-session", "lightfm-warp", "als")
    weights: tuple[str, ...] = ("als=0.2",)
    settings: tuple[str, ...] = ()
    candidates: int = 60
    folds: int = 4
    ranker: Kind = "lambdarank"
    ranker_weight: float = 0.5
    rounds: int = 200
    leaves: int = 7
    learning_rate: float = 0.03
    seed: int = 0


class TwoStage(Algorithm[TwoStageParams]):
    """Candidates of several algorithms, ordered by LambdaRank; by the blend where data is too little to learn from."""

    name = "two-level"
    params_type = TwoStageParams
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"known_users", "history", "user_features", "similar_items", "similar_users", "explanations"}
    )
    """Those of the default retrievers; `can` goes by the retrievers that there are."""
    reads_attributes = True
    kinds: ClassVar[Mapping[str, type[AnyAlgorithm]]] = {}
    """Algorithms that may be retrievers, by name. Set by the registry, which knows them."""

    retrievers_: dict[str, AnyAlgorithm]
    ranker_: Ranker | None
    facts_: RankingFeatures

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        folds = self.params.folds if dataset.interactions.nnz >= _LEAST_INTERACTIONS else 0
        parts = _parts(dataset, folds, self.params.seed)
        cuts = [(where(dataset, parts != fold), where(dataset, parts == fold)) for fold in range(folds)]
        done = 0
        groups = []
        # Folds know nothing of each other, and learning holds no lock of Python's: as many at once as there are cores,
        # which BLAS would take all of for each.
        with use_threads(1), ThreadPoolExecutor(max(1, min(usable_cores(), folds))) as pool:
            fitting = pool.submit(self._fitted, dataset)
            for found in pool.map(lambda cut: self._groups(*cut), cuts):
                groups.append(found)
                progress(done := done + 1, folds + 2)
            self.retrievers_ = fitting.result()
        progress(folds + 1, folds + 2)
        self.ranker_ = self._learned(groups)
        self.facts_ = RankingFeatures(dataset)
        progress(folds + 2, folds + 2)

    def score(self, user_rows: Rows) -> Scores:
        return self._score(user_rows, hides_seen=False)

    def score_unseen(self, user_rows: Rows) -> Scores:
        # Half of the candidates would be items that the user has seen.
        return self._score(user_rows, hides_seen=True)

    def _score(self, user_rows: Rows, *, hides_seen: bool) -> Scores:
        scores = {name: each.score(user_rows) for name, each in self.retrievers_.items()}
        facts = self.facts_
        seen, moments = self.dataset_.histories(user_rows), facts.last_times(user_rows)
        return self._ordered(self._view(scores, seen, moments, hides_seen=hides_seen), facts, user_rows)

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        if not self.can("history"):
            raise self.cannot("history")
        scores = {name: each.score_histories(histories) for name, each in self.retrievers_.items()}
        facts = self.facts_
        # Whoever comes with a list of items comes now, which is the end of the data.
        now = np.full(histories.shape[0], facts.newest, np.int64)
        return self._ordered(self._view(scores, histories, now, hides_seen=False), facts, None)

    def score_features(self, user_features: sparse.csr_array) -> Scores:
        return self._first("user_features").score_features(user_features)

    def similar_items(self, item_rows: Rows, n: int) -> tuple[Items, Scores]:
        return self._first("similar_items").similar_items(item_rows, n)

    def similar_users(self, user_rows: Rows, n: int) -> tuple[Items, Scores]:
        return self._first("similar_users").similar_users(user_rows, n)

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        return self._first("explanations").explain(histories, items, n)

    def can(self, capability: Capability) -> bool:
        """What two levels do themselves or all retrievers can, and what one retriever answers for them."""
        if capability == "known_users":
            return True
        if capability == "history":
            return all(_can(kind, capability) for kind in self._chosen().values())
        return capability != "anyone" and self._who_can(capability) is not None

    def refresh(self, user_features: sparse.csr_array | None, item_features: sparse.csr_array | None) -> None:
        changed = dataclasses.replace(self.dataset_, user_features=user_features, item_features=item_features)
        self.facts_ = RankingFeatures(changed, is_now=True)

    def arrays(self) -> Arrays:
        found = {
            f"{name}.{key}": array for name, each in self.retrievers_.items() for key, array in each.arrays().items()
        }
        return found if self.ranker_ is None else {**found, _GRAPH: np.frombuffer(self.ranker_.graph, np.uint8)}

    def texts(self) -> Mapping[str, str]:
        return {} if self.ranker_ is None or not self.ranker_.text else {_RANKER: self.ranker_.text}

    def importance(self) -> dict[str, float]:
        """Share of the ranker's gain that each feature brought; empty without a ranker."""
        return {} if self.ranker_ is None else self.ranker_.importance()

    def candidate_features(self, user_rows: Rows) -> NDArray[np.float32]:
        """What the ranker is told of all candidates of these users, (pairs, features)."""
        scores = {name: each.score(user_rows) for name, each in self.retrievers_.items()}
        seen, moments = self.dataset_.histories(user_rows), self.facts_.last_times(user_rows)
        view = self._view(scores, seen, moments, hides_seen=True)
        return view.features(self.facts_, view.pairs(self.params.candidates), user_rows)

    def ranked(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the ranker says of candidates, (pairs,); zeros without one."""
        return np.zeros(len(features), np.float32) if self.ranker_ is None else self.ranker_.score(features)

    def retriever(self, name: str) -> AnyAlgorithm:
        """An unfitted retriever with its hyperparameters. Raises InvalidInput for what cannot be one."""
        if name not in self.kinds:
            raise InvalidInput(f"'{name}' cannot be a retriever of {self.name}; known: {', '.join(self.kinds)}")
        kind = self.kinds[name]
        known = {field.name for field in dataclasses.fields(kind.params_type)}
        chosen: dict[str, Any] = {"seed": self.params.seed} if "seed" in known else {}  # Any: as the fields are
        for setting in self.params.settings:
            target, _, value = setting.partition("=")
            owner, _, key = target.rpartition(".")
            if owner == name and key not in known:
                raise InvalidInput(f"retriever '{name}' has no parameter '{key}'; known: {', '.join(sorted(known))}")
            if owner == name:
                chosen[key] = json.loads(value)
        return kind(kind.params_type(**chosen))

    def _restore(self, arrays: Arrays) -> None:
        self.retrievers_ = {}
        for name in self.params.retrievers:
            own = {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}
            self.retrievers_[name] = self.retriever(name).restore(own, self.dataset_)
        self.facts_ = RankingFeatures(self.dataset_)
        self.ranker_ = Ranker(arrays[_GRAPH].tobytes()) if _GRAPH in arrays else None

    def _restore_texts(self, texts: Mapping[str, str]) -> None:
        if self.ranker_ is not None:
            self.ranker_.text = texts.get(_RANKER, "")

    def _first(self, capability: Capability) -> AnyAlgorithm:
        able = self._who_can(capability)
        if able is None:
            raise self.cannot(capability)
        return self.retrievers_[able]

    def _who_can(self, capability: Capability) -> str | None:
        """The first retriever that can do something, fitted or not."""
        return next((name for name, kind in self._chosen().items() if _can(kind, capability)), None)

    def _chosen(self) -> dict[str, type[AnyAlgorithm]]:
        return {name: self.kinds[name] for name in self.params.retrievers if name in self.kinds}

    def _weights(self) -> dict[str, float]:
        given = {name: float(weight) for name, _, weight in (each.partition("=") for each in self.params.weights)}
        return {name: given.get(name, 1.0) for name in self.params.retrievers}

    def _fitted(self, dataset: Dataset) -> dict[str, AnyAlgorithm]:
        return {name: self.retriever(name).fit(dataset, progress=no_progress) for name in self.params.retrievers}

    def _groups(self, rest: Dataset, held_back: Dataset) -> Groups:
        """Candidates of retrievers that have seen `rest`, for users with something in `held_back`."""
        retrievers, facts = self._fitted(rest), RankingFeatures(rest)
        users = np.flatnonzero((held_back.activity() > 0) & (rest.activity() > 0))
        found = []
        for block in blocks(len(users), rest.items):
            rows = users[block]
            scores = {name: each.score(rows) for name, each in retrievers.items()}
            view = self._view(scores, rest.histories(rows), facts.last_times(rows), hides_seen=True)
            pairs = view.pairs(self.params.candidates)
            wanted = held_back.interactions[rows].toarray() > 0
            sizes = np.bincount(pairs[0], minlength=len(rows))
            found.append(Groups(view.features(facts, pairs, rows), wanted[pairs], sizes))
        return joined(found) if found else Groups(np.empty((0, 0), np.float32), np.empty(0, bool), np.empty(0, int))

    def _learned(self, groups: list[Groups]) -> Ranker | None:
        usable = [each for each in groups if each.is_relevant.any()]
        if len(usable) < 2 or sum(int(each.is_relevant.sum()) for each in usable) < _LEAST_RELEVANT:
            return None
        params = RankerParams(
            kind=self.params.ranker,
            rounds=self.params.rounds,
            leaves=self.params.leaves,
            learning_rate=self.params.learning_rate,
            seed=self.params.seed,
        )
        retrievers = self.params.retrievers
        return learn(
            joined(usable[:-1]), usable[-1], names=names(retrievers), directions=directions(retrievers), params=params
        )

    def _view(
        self, scores: Mapping[str, Scores], seen: sparse.csr_array, as_of: NDArray[np.int64], *, hides_seen: bool
    ) -> View:
        return View(scores, seen, as_of, self._weights(), hides_seen=hides_seen)

    def _ordered(self, view: View, facts: RankingFeatures, users: Rows | None) -> Scores:
        """One score per item: 1 to 2 for candidates, by ranker and blend; below 1 for all others, by the blend."""
        final = np.asarray(np.exp(np.minimum(view.blend, 0)), np.float32)
        if self.ranker_ is None:
            return final
        pairs = view.pairs(self.params.candidates)
        is_unseen = view.is_unseen(pairs)
        ranked = self.ranker_.score(view.features(facts, pairs, users))
        ranked, blend = (standard_within(each, pairs[0], len(final), is_unseen) for each in (ranked, view.blend[pairs]))
        mixed = self.params.ranker_weight * ranked + (1 - self.params.ranker_weight) * blend
        final[pairs] = 1 + 1 / (1 + np.exp(-mixed))
        return final


def _can(kind: type[AnyAlgorithm], capability: Capability) -> bool:
    # What tells everybody the same does not answer from attributes: the segment, which does, comes next.
    tells_apart = capability != "user_features" or "anyone" not in kind.capabilities
    return tells_apart and capability in kind.capabilities


def _parts(dataset: Dataset, folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each stored interaction; each user's are dealt out evenly, beginning anywhere."""
    random = np.random.default_rng(seed)
    matrix = dataset.interactions
    rows = stored_rows(matrix)
    order = np.lexsort((random.random(matrix.nnz), rows))
    dealt = np.empty(matrix.nnz, np.int64)
    dealt[order] = np.arange(matrix.nnz) - matrix.indptr[rows[order]]
    return np.asarray((dealt + random.integers(0, max(1, folds), dataset.users)[rows]) % max(1, folds))

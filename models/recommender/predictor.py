"""Answers queries from an artifact, many at once: one product per algorithm, and no query that spoils another's answer.

Knows ids, rows and who stands in for whom; what a score means is the algorithms' own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

from models.errors import InputError, InvalidInput
from models.recommender import archive
from models.recommender.base import blocks, hide
from models.recommender.dataset import history_of
from models.recommender.popularity import Popularity
from models.recommender.queries import Answer, Query, Reason, ScoredItem
from models.recommender.registry import AnyAlgorithm
from models.recommender.selection import NOTHING, Items, Scores, best
from models.store import Artifact

__all__ = ["Answer", "Query", "Recommender", "ScoredItem"]


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one query is answered: which algorithm, from which row, and which items are hidden.

    `row` is -1 for somebody who is not known. `history` is set when items came with the request.
    """

    place: int
    query: Query
    algorithm: AnyAlgorithm
    row: int
    history: sparse.csr_array | None
    reason: Reason | None


class Recommender:
    """Recommendations for known and unknown users. Safe to call from several threads at once."""

    def __init__(self, artifact: Artifact, contents: archive.Contents) -> None:
        self.artifact = artifact
        self.contents = contents
        popular = contents.algorithms.get(Popularity.name)
        self._popular = popular or Popularity().fit(contents.dataset)

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Open an artifact; its arrays are memory-mapped. Raises ArtifactInvalid."""
        return cls(artifact, archive.read(artifact.folder))

    @property
    def models(self) -> tuple[str, ...]:
        """Names that a query's `model` may have."""
        return tuple(self.contents.algorithms)

    @property
    def default_model(self) -> str:
        return self.contents.default

    def knows_user(self, user_id: str) -> bool:
        return self.contents.users.row(user_id) is not None

    def example(self) -> Query:
        """A query for a known user, for warm-up and probes."""
        return Query(user_id=self.contents.users[0], n=1)

    def recommend(self, queries: Sequence[Query]) -> list[Answer]:
        """One answer per query, in order. A query at fault gets an answer with an error; the others are not touched."""
        answers: dict[int, Answer] = {}
        groups: dict[tuple[str, bool], list[_Plan]] = defaultdict(list)
        for place, query in enumerate(queries):
            try:
                plan = self._plan(place, query)
            except InputError as error:
                answers[place] = Answer((), query.model or self.default_model, error=str(error), error_kind="invalid")
            else:
                groups[plan.algorithm.name, plan.history is not None].append(plan)
        for plans in groups.values():
            for rows in blocks(len(plans), len(self.contents.items)):
                answers.update(self._answer_all(plans[rows]))
        return [answers[place] for place in range(len(queries))]

    def _plan(self, place: int, query: Query) -> _Plan:
        if not isinstance(query.n, int) or query.n < 1:
            raise InvalidInput(f"n must be a whole number of at least 1, not {query.n!r}", location=("n",))
        algorithm = self._algorithm(query.model)
        row = self.contents.users.row(query.user_id)
        extra = [found for item in query.history if (found := self.contents.items.row(item)) is not None]
        if extra and algorithm.can("history"):
            return _Plan(place, query, algorithm, -1, self._history(row, extra), "request_history")
        if algorithm.can("anyone"):
            return _Plan(place, query, algorithm, -1 if row is None else row, None, None)
        if row is None:
            return _Plan(place, query, self._popular, -1, None, "unknown_user")
        indptr = self.contents.dataset.interactions.indptr
        if indptr[row] != indptr[row + 1]:
            return _Plan(place, query, algorithm, row, None, None)
        if algorithm.can("user_features") and self._has_features(row):
            return _Plan(place, query, algorithm, row, None, "user_features")
        return _Plan(place, query, self._popular, row, None, "no_history")

    def _algorithm(self, name: str | None) -> AnyAlgorithm:
        chosen = self.contents.algorithms.get(name or self.default_model)
        if chosen is None:
            raise InvalidInput(f"no model '{name}' is served; known: {', '.join(self.models)}", location=("model",))
        return chosen

    def _has_features(self, row: int) -> bool:
        features = self.contents.dataset.user_features
        return features is not None and bool(features.indptr[row] != features.indptr[row + 1])

    def _history(self, row: int | None, extra: list[int]) -> sparse.csr_array:
        known = self._seen(row)
        return history_of(np.concatenate((known, np.array(extra, np.int64))), len(self.contents.items))

    def _seen(self, row: int | None) -> Items:
        if row is None or row < 0:
            return np.empty(0, np.int64)
        matrix = self.contents.dataset.interactions
        return np.asarray(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]], np.int64)

    def _answer_all(self, plans: list[_Plan]) -> dict[int, Answer]:
        try:
            return self._answer(plans)
        except Exception as error:  # whatever an algorithm raises belongs to one query, not to its neighbours
            if len(plans) > 1:
                return {place: answer for plan in plans for place, answer in self._answer_all([plan]).items()}
            failed = f"model '{plans[0].algorithm.name}' failed: {type(error).__name__}"
            return {plans[0].place: Answer((), plans[0].algorithm.name, error=failed, error_kind="failed")}

    def _answer(self, plans: list[_Plan]) -> dict[int, Answer]:
        scores = self._scores(plans)
        for index, plan in enumerate(plans):
            if plan.query.filter_seen:
                if plan.history is not None:
                    hide(scores[index : index + 1], plan.history)
                else:
                    scores[index, self._seen(plan.row)] = -np.inf
        items, found = best(scores, max(plan.query.n for plan in plans))
        return {
            plan.place: Answer(self._scored(items[i], found[i], plan.query.n), plan.algorithm.name, plan.reason)
            for i, plan in enumerate(plans)
        }

    def _scores(self, plans: list[_Plan]) -> Scores:
        algorithm = plans[0].algorithm
        if plans[0].history is not None:
            return algorithm.score_histories(sparse.vstack([plan.history for plan in plans], format="csr"))
        if isinstance(algorithm, Popularity):
            return algorithm.score_anyone(len(plans))
        return algorithm.score(np.array([plan.row for plan in plans], np.int64))

    def _scored(self, items: Items, scores: Scores, n: int) -> tuple[ScoredItem, ...]:
        ids, titles = self.contents.items, self.contents.titles
        chosen = zip(items[:n].tolist(), scores[:n].tolist(), strict=True)
        return tuple([ScoredItem(ids[row], titles[row], score) for row, score in chosen if row != NOTHING])

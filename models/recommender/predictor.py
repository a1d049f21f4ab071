"""Answers recommendation queries from an artifact, features and recent events: reads arrays, ids and titles, nothing
else.

Knows users and items by id. How well it ranks is the algorithms' own; how somebody unknown is answered is `planning`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from models.errors import InputError
from models.recommender import archive
from models.recommender.base import blocks
from models.recommender.explaining import causes
from models.recommender.feature_store import FOLDER, FeatureStore
from models.recommender.knowledge import Knowledge
from models.recommender.planning import Plan, plan
from models.recommender.popularity import Popularity
from models.recommender.queries import NO_RULES, Answer, Query, ScoredItem
from models.recommender.recent import Recent
from models.recommender.reranking import Reranker, needs_ranking
from models.recommender.selection import NOTHING, Items, Scores, best
from models.store import Artifact

__all__ = ["Answer", "Query", "Recommender", "ScoredItem"]


class Recommender:
    """Recommendations for known and unknown users. Safe to call from several threads at once."""

    def __init__(
        self,
        artifact: Artifact,
        contents: archive.Contents,
        *,
        features: FeatureStore | None = None,
        recent: Recent | None = None,
    ) -> None:
        self.artifact = artifact
        self.contents = contents
        self.knowledge = Knowledge(contents, features or FeatureStore(None), recent or Recent())
        self._reranker = Reranker(contents.dataset, contents.items)

    @classmethod
    def load(
        cls,
        artifact: Artifact,
        *,
        features: Path | None = None,
        features_ttl_s: float = 60.0,
        recent: Recent | None = None,
    ) -> Self:
        """Open an artifact; its arrays are memory-mapped. Raises ArtifactInvalid.

        `features` is the folder of the feature tables, that beside the artifact when not given.
        """
        folder = features or artifact.folder / FOLDER
        store = FeatureStore(folder, ttl_s=features_ttl_s)
        return cls(artifact, archive.read(artifact.folder), features=store, recent=recent)

    @property
    def models(self) -> tuple[str, ...]:
        """Names that a query's `model` may have."""
        return tuple(self.contents.algorithms)

    @property
    def default_model(self) -> str:
        return self.contents.default

    def knows_user(self, user_id: str) -> bool:
        return self.knowledge.knows_user(user_id)

    def example(self) -> Query:
        """A query for a known user, for warm-up and probes."""
        return Query(user_id=self.contents.users[0], n=1)

    def recommend(self, queries: Sequence[Query]) -> list[Answer]:
        """One answer per query, in order. A query at fault gets an answer with an error; the others are not touched."""
        answers: dict[int, Answer] = {}
        groups: dict[tuple[str, str], list[Plan]] = defaultdict(list)
        for place, query in enumerate(queries):
            try:
                planned = plan(place, query, self.knowledge)
            except InputError as error:
                answers[place] = self._refused(query, error)
            else:
                groups[planned.algorithm.name, planned.source].append(planned)
        for plans in groups.values():
            for rows in blocks(len(plans), len(self.contents.items)):
                answers.update(self._answer_all(plans[rows]))
        return [answers[place] for place in range(len(queries))]

    def _refused(self, query: Query, error: InputError) -> Answer:
        name = query.model or self.default_model
        return Answer((), name, error=str(error), error_kind="invalid", location=error.location)

    def _answer_all(self, plans: list[Plan]) -> dict[int, Answer]:
        try:
            return self._answer(plans)
        except Exception as error:  # whatever an algorithm raises belongs to one query, not to its neighbours
            if len(plans) > 1:
                return {place: answer for each in plans for place, answer in self._answer_all([each]).items()}
            failed = f"model '{plans[0].algorithm.name}' failed: {type(error).__name__}"
            return {plans[0].place: Answer((), plans[0].algorithm.name, error=failed, error_kind="failed")}

    def _answer(self, plans: list[Plan]) -> dict[int, Answer]:
        scores = self._scores(plans)
        for row, each in zip(scores, plans, strict=True):
            if each.query.filter_seen:
                row[each.seen] = -np.inf
            row[each.hidden] = -np.inf
            if each.query.rules is not NO_RULES:
                self._reranker.hide(row, each.query.rules, self.knowledge.facts())
        items, found = best(scores, max(each.query.n for each in plans))
        answers = {}
        for i, each in enumerate(plans):
            chosen, marks = items[i][: each.query.n], found[i][: each.query.n]
            if needs_ranking(each.query.rules):
                facts = self.knowledge.facts()
                chosen, marks = self._reranker.rank(scores[i], each.query.n, each.query.rules, facts)
            answers[each.place] = Answer(
                self._scored(each, chosen, marks), each.algorithm.name, each.reason, features=each.feature_row
            )
        return answers

    def _scores(self, plans: list[Plan]) -> Scores:
        """Scores of all items, (N, items), writable. All plans are of one algorithm and one source."""
        algorithm, source = plans[0].algorithm, plans[0].source
        if source == "history":
            return algorithm.score_histories(sparse.vstack([each.history for each in plans], format="csr"))
        if source == "features":
            return algorithm.score_features(sparse.vstack([each.features for each in plans], format="csr"))
        if source == "segment":
            return np.stack([each.segment.scores for each in plans if each.segment is not None])
        if isinstance(algorithm, Popularity):
            scores = algorithm.score_anyone(len(plans))
            scores += self.knowledge.additions()
            return scores
        return algorithm.score(np.array([each.row for each in plans], np.int64))

    def _scored(self, each: Plan, items: Items, scores: Scores) -> tuple[ScoredItem, ...]:
        ids, titles = self.contents.items, self.contents.titles
        kept = items != NOTHING
        rows, marks = items[kept], scores[kept].tolist()
        if not each.query.explain:
            return tuple(
                [ScoredItem(ids[row], titles[row], mark) for row, mark in zip(rows.tolist(), marks, strict=True)]
            )
        why = causes(each, rows, self.knowledge)
        return tuple(
            [
                ScoredItem(ids[row], titles[row], mark, cause)
                for row, mark, cause in zip(rows.tolist(), marks, why, strict=True)
            ]
        )

"""Answers recommendation queries from an artifact, features and recent events: reads arrays, ids and titles, nothing
else.

Knows users and items by id. How well it ranks is the algorithms' own; how somebody unknown is answered is `planning`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np

from models.errors import InputError
from models.recommender import archive
from models.recommender.algorithms.base import blocks
from models.recommender.algorithms.top_k import NOTHING, Items, Scores, best
from models.recommender.dataset.feature_check import check_attributes
from models.recommender.dataset.feature_store import FOLDER, FeatureStore
from models.recommender.online.explanations import causes
from models.recommender.online.messages import NO_RULES, Answer, Query, ScoredItem
from models.recommender.online.recent_events import RecentEvents
from models.recommender.online.reranking import Ranked, Reranker, needs_ranking
from models.recommender.online.scoring import best_by_product, hidden_from, is_product, scores_of
from models.recommender.online.state import RecommenderState
from models.recommender.online.strategy import Strategy, choose_strategy
from models.store.artifacts import Artifact

__all__ = ["Answer", "Query", "Recommender", "ScoredItem"]


class Recommender:
    """Recommendations for known and unknown users. Safe to call from several threads at once."""

    def __init__(
        self,
        artifact: Artifact,
        contents: archive.Contents,
        *,
        features: FeatureStore | None = None,
        recent: RecentEvents | None = None,
    ) -> None:
        self.artifact = artifact
        self.contents = contents
        store = features or FeatureStore(None)
        learned_from = store.current() if store.is_of(artifact.folder / FOLDER) else None
        self.knowledge = RecommenderState(contents, store, recent or RecentEvents(), learned_from=learned_from)
        self._reranker = Reranker(contents.dataset, contents.items)

    @classmethod
    def load(
        cls,
        artifact: Artifact,
        *,
        features: Path | None = None,
        features_ttl_s: float = 60.0,
        recent: RecentEvents | None = None,
    ) -> Self:
        """Open an artifact; its arrays are memory-mapped. Raises ArtifactInvalid.

        `features` is the folder of the feature tables, that beside the artifact when not given.
        """
        folder = features or artifact.folder / FOLDER
        contents = archive.read(artifact.folder)
        check = partial(check_attributes, users=contents.user_encoder, items=contents.item_encoder)
        store = FeatureStore(folder, ttl_s=features_ttl_s, check=check)
        return cls(artifact, contents, features=store, recent=recent)

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
        self.knowledge.refresh()
        answers: dict[int, Answer] = {}
        groups: dict[tuple[str, str, bool], list[Strategy]] = defaultdict(list)
        for place, query in enumerate(queries):
            try:
                planned = choose_strategy(place, query, self.knowledge)
            except InputError as error:
                answers[place] = self._refused(query, error)
            else:
                groups[planned.algorithm.name, planned.source, is_product(planned)].append(planned)
        for (_, _, of_vectors), plans in groups.items():
            # Where all scores are made, a block of them has to fit into memory; a vector always does.
            for rows in blocks(len(plans), 1 if of_vectors else len(self.contents.items)):
                answers.update(self._answer_all(plans[rows]))
        return [answers[place] for place in range(len(queries))]

    def _refused(self, query: Query, error: InputError) -> Answer:
        name = query.model or self.default_model
        # What an algorithm refuses itself is about the algorithm.
        return Answer((), name, error=str(error), error_kind="invalid", location=error.location or ("model",))

    def _answer_all(self, plans: list[Strategy]) -> dict[int, Answer]:
        try:
            return self._answer(plans)
        except Exception as error:  # whatever an algorithm raises belongs to one query, not to its neighbours
            if len(plans) > 1:
                return {place: answer for each in plans for place, answer in self._answer_all([each]).items()}
            if isinstance(error, InputError):
                return {plans[0].place: self._refused(plans[0].query, error)}
            failed = f"model '{plans[0].algorithm.name}' failed: {type(error).__name__}"
            return {plans[0].place: Answer((), plans[0].algorithm.name, error=failed, error_kind="failed")}

    def _answer(self, plans: list[Strategy]) -> dict[int, Answer]:
        ranked = best_by_product(plans) if is_product(plans[0]) else self._ranked(plans)
        return {
            each.place: Answer(
                self._scored(each, items, marks), each.algorithm.name, each.reason, features=each.feature_row
            )
            for each, (items, marks) in zip(plans, ranked, strict=True)
        }

    def _ranked(self, plans: list[Strategy]) -> list[Ranked]:
        """The items of each plan and their scores, best first, from the scores of all items."""
        scores = scores_of(plans, self.knowledge)
        for row, each in zip(scores, plans, strict=True):
            row[hidden_from(each)] = -np.inf
            if each.query.rules is not NO_RULES:
                self._reranker.hide(row, each.query.rules, self.knowledge.facts())
        items, found = best(scores, max(each.query.n for each in plans))
        return [
            self._reranker.rank(scores[i], each.query.n, each.query.rules, self.knowledge.facts())
            if needs_ranking(each.query.rules)
            else (items[i][: each.query.n], found[i][: each.query.n])
            for i, each in enumerate(plans)
        ]

    def _scored(self, each: Strategy, items: Items, scores: Scores) -> tuple[ScoredItem, ...]:
        rows, marks = items.tolist(), scores.tolist()
        if rows and rows[-1] == NOTHING:
            # What there was too little of is at the end.
            rows = [row for row in rows if row != NOTHING]
            marks = marks[: len(rows)]
        ids, titles = self.contents.items.texts.many(rows), self.contents.titles.many(rows)
        if not each.query.explain:
            return tuple(map(ScoredItem, ids, titles, marks))
        return tuple(map(ScoredItem, ids, titles, marks, causes(each, items[: len(rows)], self.knowledge)))

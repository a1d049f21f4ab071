"""The predictor of recommendations from an artifact, feature tables and recent events.

It maps ids to rows. The algorithms score items; `strategy` selects the algorithm and handles unknown users.
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
from models.recommender.algorithms.base import row_blocks
from models.recommender.algorithms.top_k import PADDING, Items, Scores, select_top_k
from models.recommender.dataset.feature_check import check_attributes
from models.recommender.dataset.feature_files import FOLDER
from models.recommender.dataset.feature_store import FeatureStore
from models.recommender.online.explanations import causes
from models.recommender.online.messages import NO_RULES, Answer, Query, ScoredItem
from models.recommender.online.recent_events import RecentEvents
from models.recommender.online.reranking import Ranked, Reranker, needs_ranking
from models.recommender.online.scoring import best_by_vectors, excluded_items, score_all, uses_vectors
from models.recommender.online.state import RecommenderState
from models.recommender.online.strategy import Strategy, choose_strategy
from models.store.artifacts import Artifact

__all__ = ["Answer", "Query", "Recommender", "ScoredItem"]


class Recommender:
    """A predictor of recommendations for known and unknown users. Thread-safe."""

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
        learned_from = store.current() if store.reads_from(artifact.folder / FOLDER) else None
        self.state = RecommenderState(contents, store, recent or RecentEvents(), learned_from=learned_from)
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
        """Open an artifact with memory-mapped arrays. Raise ArtifactInvalid.

        `features` is the folder of the feature tables, by default the one in the artifact.
        """
        folder = features or artifact.folder / FOLDER
        contents = archive.read(artifact.folder)
        check = partial(check_attributes, users=contents.user_encoder, items=contents.item_encoder)
        store = FeatureStore(folder, ttl_s=features_ttl_s, check=check)
        return cls(artifact, contents, features=store, recent=recent)

    @property
    def models(self) -> tuple[str, ...]:
        """The valid values of `Query.model`."""
        return tuple(self.contents.algorithms)

    @property
    def default_model(self) -> str:
        return self.contents.default

    def knows_user(self, user_id: str) -> bool:
        return self.state.knows_user(user_id)

    def example(self) -> Query:
        """Return a query for a known user, for warm-up and probes."""
        return Query(user_id=self.contents.users[0], n=1)

    def recommend(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer each query, in order. An invalid query gets an answer with an error and does not affect the others."""
        self.state.refresh()
        answers: dict[int, Answer] = {}
        groups: dict[tuple[str, str, bool], list[Strategy]] = defaultdict(list)
        for position, query in enumerate(queries):
            try:
                strategy = choose_strategy(position, query, self.state)
            except InputError as error:
                answers[position] = self._error_answer(query, error)
            else:
                groups[strategy.algorithm.name, strategy.source, uses_vectors(strategy)].append(strategy)
        for (_, _, is_by_vectors), strategies in groups.items():
            # A block of scores of all items must fit into memory; vectors always do.
            for rows in row_blocks(len(strategies), 1 if is_by_vectors else len(self.contents.items)):
                answers.update(self._answer_isolated(strategies[rows]))
        return [answers[position] for position in range(len(queries))]

    def _error_answer(self, query: Query, error: InputError) -> Answer:
        name = query.model or self.default_model
        # An error of the algorithm without a location refers to the model.
        return Answer((), name, error=str(error), error_kind="invalid", location=error.location or ("model",))

    def _answer_isolated(self, strategies: list[Strategy]) -> dict[int, Answer]:
        try:
            return self._answer(strategies)
        except Exception as error:  # isolate the query that makes the algorithm fail
            if len(strategies) > 1:
                return {
                    position: answer
                    for each in strategies
                    for position, answer in self._answer_isolated([each]).items()
                }
            if isinstance(error, InputError):
                return {strategies[0].position: self._error_answer(strategies[0].query, error)}
            message = f"model '{strategies[0].algorithm.name}' failed: {type(error).__name__}"
            return {
                strategies[0].position: Answer((), strategies[0].algorithm.name, error=message, error_kind="failed")
            }

    def _answer(self, strategies: list[Strategy]) -> dict[int, Answer]:
        ranked = best_by_vectors(strategies) if uses_vectors(strategies[0]) else self._ranked(strategies)
        return {
            each.position: Answer(
                self._scored_items(each, items, scores), each.algorithm.name, each.reason, features=each.feature_row
            )
            for each, (items, scores) in zip(strategies, ranked, strict=True)
        }

    def _ranked(self, strategies: list[Strategy]) -> list[Ranked]:
        """Return the best items and scores for each strategy, from the scores of all items."""
        scores = score_all(strategies, self.state)
        for row, each in zip(scores, strategies, strict=True):
            row[excluded_items(each)] = -np.inf
            if each.query.rules is not NO_RULES:
                self._reranker.mask_disallowed(row, each.query.rules, self.state.item_metadata())
        items, top_scores = select_top_k(scores, max(each.query.n for each in strategies))
        return [
            self._reranker.rank(scores[i], each.query.n, each.query.rules, self.state.item_metadata())
            if needs_ranking(each.query.rules)
            else (items[i][: each.query.n], top_scores[i][: each.query.n])
            for i, each in enumerate(strategies)
        ]

    def _scored_items(self, each: Strategy, items: Items, scores: Scores) -> tuple[ScoredItem, ...]:
        rows, scores = items.tolist(), scores.tolist()
        if rows and rows[-1] == PADDING:
            # Padding is at the end.
            rows = [row for row in rows if row != PADDING]
            scores = scores[: len(rows)]
        ids, titles = self.contents.items.texts.many(rows), self.contents.titles.many(rows)
        if not each.query.explain:
            return tuple(map(ScoredItem, ids, titles, scores))
        return tuple(map(ScoredItem, ids, titles, scores, causes(each, items[: len(rows)], self.state)))

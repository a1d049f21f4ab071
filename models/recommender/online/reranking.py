"""Re-ranking by business rules: permitted items, category caps, diversity.

Diversity uses maximal marginal relevance (Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking", SIGIR
1998).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.top_k import PADDING, Scores, select_top_k
from models.recommender.dataset.dataset import Dataset
from models.recommender.dataset.ids import IdIndex
from models.recommender.online.item_metadata import ItemMetadata
from models.recommender.online.messages import ItemFilter, Rules

# The initial number of candidates per requested item; it grows when caps leave too few items.
_POOL = 20
_MIN_POOL = 200
_GROWTH = 8

Mask = NDArray[np.bool_]
Ranked = tuple[NDArray[np.int64], NDArray[np.float32]]


class Reranker:
    """A re-ranker that applies rules to the scores of one user."""

    def __init__(self, dataset: Dataset, items: IdIndex) -> None:
        self._dataset = dataset
        self._items = items
        self._by_item: sparse.csr_array | None = None

    def mask_disallowed(self, scores: Scores, rules: Rules, metadata: ItemMetadata) -> None:
        """Set the scores (items,) of items that the rules exclude to -inf in place."""
        if rules.allow:
            scores[~self._mask_of(rules.allow, metadata)] = -np.inf
        if rules.deny:
            scores[self._mask_of(rules.deny, metadata)] = -np.inf
        if rules.categories:
            scores[~metadata.has_any(rules.categories)] = -np.inf
        if rules.min_score is not None:
            with np.errstate(over="ignore"):  # a limit beyond float32 is infinite
                scores[scores < rules.min_score] = -np.inf

    def rank(self, scores: Scores, n: int, rules: Rules, metadata: ItemMetadata) -> Ranked:
        """Return rows and scores of at most `n` items from `scores` (items,), in display order."""
        pool = max(_MIN_POOL, _POOL * n)
        while True:
            rows, top_scores = select_top_k(scores[None, :], pool)
            is_candidate = rows[0] != PADDING
            chosen = self._choose(rows[0][is_candidate], top_scores[0][is_candidate], n, rules, metadata)
            if len(chosen) >= n or is_candidate.sum() < pool or pool >= len(scores):
                return rows[0][chosen], top_scores[0][chosen]
            pool *= _GROWTH

    def _choose(
        self, rows: NDArray[np.int64], scores: Scores, n: int, rules: Rules, metadata: ItemMetadata
    ) -> NDArray[np.int64]:
        """Select positions in `rows` greedily by relevance and dissimilarity to the positions selected before."""
        budget = _CategoryBudget(rules.max_per_category, rules.category_caps, metadata)
        relevance = _scale_to_unit(scores)
        similarity = np.zeros(len(rows))
        vectors = self._vectors(rows) if rules.diversity > 0 else None
        is_open = np.ones(len(rows), bool)
        chosen: list[int] = []
        while len(chosen) < n and is_open.any():
            marginal_relevance = np.where(
                is_open, (1 - rules.diversity) * relevance - rules.diversity * similarity, -np.inf
            )
            position = int(np.argmax(marginal_relevance))
            is_open[position] = False
            if not budget.take(int(rows[position])):
                continue
            chosen.append(position)
            if vectors is not None:
                similarity = np.maximum(similarity, (vectors @ vectors[[position]].T).toarray().ravel())
        return np.array(chosen, np.int64)

    def _mask_of(self, item_filter: ItemFilter, metadata: ItemMetadata) -> Mask:
        mask = metadata.has_any(item_filter.categories) if item_filter.categories else np.zeros(len(self._items), bool)
        mask[[row for each in item_filter.ids if (row := self._items.row(each)) is not None]] = True
        return mask

    def _vectors(self, rows: NDArray[np.int64]) -> sparse.csr_array:
        """Return item vectors of length 1: their features, or without features their users."""
        source = self._dataset.item_features
        if source is None:
            if self._by_item is None:
                self._by_item = self._dataset.interactions.T.tocsr()
            source = self._by_item
        vectors = sparse.csr_array(source[rows], dtype=np.float64)
        lengths = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel())
        return sparse.csr_array(sparse.diags_array(1 / np.where(lengths > 0, lengths, 1.0)) @ vectors)


class _CategoryBudget:
    """The remaining number of items per category."""

    def __init__(self, max_per_category: int | None, caps: Mapping[str, int], metadata: ItemMetadata) -> None:
        self._max_per_category = max_per_category
        self._remaining = {name.casefold(): cap for name, cap in caps.items()}
        self._metadata = metadata

    def take(self, row: int) -> bool:
        """Count the item and return True when its categories have room, else return False."""
        if self._max_per_category is None and not self._remaining:
            return True
        names = [name.casefold() for name in self._metadata.categories_of(row)]
        counted = []
        for name in names:
            if name in self._remaining or self._max_per_category is not None:
                counted.append(name)
                self._remaining.setdefault(name, self._max_per_category or 0)
        if any(self._remaining[name] <= 0 for name in counted):
            return False
        for name in counted:
            self._remaining[name] -= 1
        return True


def needs_ranking(rules: Rules) -> bool:
    """Return whether the rules change the order or the number of items, not only the permitted items."""
    return bool(rules.diversity > 0 or rules.max_per_category is not None or rules.category_caps)


def _scale_to_unit(scores: Scores) -> NDArray[np.float64]:
    """Scale scores to 0..1 over the candidates, the range of similarity."""
    if not len(scores):
        return np.empty(0)
    low, high = float(scores.min()), float(scores.max())
    if high <= low:
        return np.ones(len(scores))
    return np.asarray((scores.astype(np.float64) - low) / (high - low))

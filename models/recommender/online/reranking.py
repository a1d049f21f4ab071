"""The rules that a finished answer keeps to: which items may appear, how many of a kind, how unlike each other.

Maximal marginal relevance is Carbonell and Goldstein's, "The Use of MMR, Diversity-Based Reranking" (SIGIR 1998).
Knows rows, scores and categories, never users.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.top_k import NOTHING, Scores, best
from models.recommender.dataset.dataset import Dataset
from models.recommender.dataset.ids import IdIndex
from models.recommender.online.item_metadata import ItemMetadata
from models.recommender.online.messages import Choice, Rules

# Candidates that diversity and caps choose from at first, per item wanted; more only when caps leave too few.
_POOL = 20
_MIN_POOL = 200
_GROWTH = 8

Mask = NDArray[np.bool_]
Ranked = tuple[NDArray[np.int64], NDArray[np.float32]]


class Reranker:
    """Applies rules to the scores of one user."""

    def __init__(self, dataset: Dataset, items: IdIndex) -> None:
        self._dataset = dataset
        self._items = items
        self._by_item: sparse.csr_array | None = None

    def hide(self, scores: Scores, rules: Rules, facts: ItemMetadata) -> None:
        """Set scores (items,) of what may not appear to -inf, in place."""
        if rules.allow:
            scores[~self._chosen(rules.allow, facts)] = -np.inf
        if rules.deny:
            scores[self._chosen(rules.deny, facts)] = -np.inf
        if rules.categories:
            scores[~facts.having(rules.categories)] = -np.inf
        if rules.min_score is not None:
            with np.errstate(over="ignore"):  # what is beyond float32 is infinite
                scores[scores < rules.min_score] = -np.inf

    def rank(self, scores: Scores, n: int, rules: Rules, facts: ItemMetadata) -> Ranked:
        """Rows and scores of at most `n` items of `scores` (items,), in the order they are to be shown."""
        pool = max(_MIN_POOL, _POOL * n)
        while True:
            rows, found = best(scores[None, :], pool)
            kept = rows[0] != NOTHING
            chosen = self._choose(rows[0][kept], found[0][kept], n, rules, facts)
            if len(chosen) >= n or kept.sum() < pool or pool >= len(scores):
                return rows[0][chosen], found[0][chosen]
            pool *= _GROWTH

    def _choose(
        self, rows: NDArray[np.int64], scores: Scores, n: int, rules: Rules, facts: ItemMetadata
    ) -> NDArray[np.int64]:
        """Places in `rows`. One after the other: the most relevant that is least like what is chosen already."""
        room = _Room(rules.max_per_category, rules.category_caps, facts)
        relevance = _unit(scores)
        likeness = np.zeros(len(rows))
        vectors = self._vectors(rows) if rules.diversity > 0 else None
        open_places = np.ones(len(rows), bool)
        chosen: list[int] = []
        while len(chosen) < n and open_places.any():
            worth = np.where(open_places, (1 - rules.diversity) * relevance - rules.diversity * likeness, -np.inf)
            place = int(np.argmax(worth))
            open_places[place] = False
            if not room.takes(int(rows[place])):
                continue
            chosen.append(place)
            if vectors is not None:
                likeness = np.maximum(likeness, (vectors @ vectors[[place]].T).toarray().ravel())
        return np.array(chosen, np.int64)

    def _chosen(self, choice: Choice, facts: ItemMetadata) -> Mask:
        mask = facts.having(choice.categories) if choice.categories else np.zeros(len(self._items), bool)
        mask[[row for each in choice.ids if (row := self._items.row(each)) is not None]] = True
        return mask

    def _vectors(self, rows: NDArray[np.int64]) -> sparse.csr_array:
        """What items are compared by: their features where there are any, else who interacted with them; length 1."""
        source = self._dataset.item_features
        if source is None:
            if self._by_item is None:
                self._by_item = self._dataset.interactions.T.tocsr()
            source = self._by_item
        vectors = sparse.csr_array(source[rows], dtype=np.float64)
        lengths = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel())
        return sparse.csr_array(sparse.diags_array(1 / np.where(lengths > 0, lengths, 1.0)) @ vectors)


class _Room:
    """How many more items of each category an answer takes."""

    def __init__(self, each: int | None, caps: Mapping[str, int], facts: ItemMetadata) -> None:
        self._each = each
        self._left = {name.casefold(): cap for name, cap in caps.items()}
        self._facts = facts

    def takes(self, row: int) -> bool:
        """Whether the item still fits; it is counted when it does."""
        if self._each is None and not self._left:
            return True
        names = [name.casefold() for name in self._facts.of(row)]
        counted = []
        for name in names:
            if name in self._left or self._each is not None:
                counted.append(name)
                self._left.setdefault(name, self._each or 0)
        if any(self._left[name] <= 0 for name in counted):
            return False
        for name in counted:
            self._left[name] -= 1
        return True


def needs_ranking(rules: Rules) -> bool:
    """Whether the order or the number of the best items is changed, not only which may appear."""
    return bool(rules.diversity > 0 or rules.max_per_category is not None or rules.category_caps)


def _unit(scores: Scores) -> NDArray[np.float64]:
    """Scores as 0 to 1 over the pool: what likeness, which is 0 to 1, is weighed against."""
    if not len(scores):
        return np.empty(0)
    low, high = float(scores.min()), float(scores.max())
    if high <= low:
        return np.ones(len(scores))
    return np.asarray((scores.astype(np.float64) - low) / (high - low))

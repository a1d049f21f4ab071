"""The item catalog of a recommender: details, title search, lists, top items, similar items."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from models.errors import NotKnown
from models.recommender.algorithms.top_k import PADDING, Items, select_top_k
from models.recommender.dataset.feature_value import FeatureValue
from models.recommender.online.item_metadata import ItemMetadata
from models.recommender.online.state import RecommenderState
from models.recommender.online.title_search import TitleSearch

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class CatalogItem:
    """One item. `interactions` counts its users, including recent ones. `score` is that of the search, 0 to 100."""

    item_id: str
    title: str
    categories: tuple[str, ...]
    year: int | None
    interactions: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class CatalogItemDetails:
    """One item and its features, None without a row in the feature store."""

    item: CatalogItem
    features: Mapping[str, FeatureValue] | None
    rank: int
    """Rank by popularity, from 1."""


@dataclass(frozen=True, slots=True)
class SimilarItem:
    """An item and its similarity, comparable only within one response."""

    item: CatalogItem
    score: float


@dataclass(frozen=True, slots=True)
class CatalogPage:
    """A page of items, the number of items before it, and the total."""

    items: tuple[CatalogItem, ...]
    offset: int
    total: int


class ItemCatalog:
    """The catalog of items of a recommender. Thread-safe."""

    def __init__(self, state: RecommenderState, *, clock: Callable[[], float] = time.time) -> None:
        self._state = state
        self._clock = clock
        self._lock = Lock()
        self._search: TitleSearch | None = None
        self._users_per_item = state.contents.dataset.popularity()
        # The order is fixed at training time: with live counts, pages of a list would overlap.
        self._by_popularity = np.argsort(-self._users_per_item, kind="stable")

    def details(self, item_id: str) -> CatalogItemDetails:
        """Return one item with its details. Raise NotKnown."""
        row = self._row(item_id)
        counts = self._counts()
        return CatalogItemDetails(
            item=self._item(row, counts),
            features=self._state.features.items.values(item_id),
            rank=int((counts > counts[row]).sum()) + 1,
        )

    def similar(self, item_id: str, n: int, model: str | None = None) -> tuple[str, tuple[SimilarItem, ...]]:
        """Return the algorithm used and the items most similar to this one, best first.

        Raise NotKnown, and InvalidInput when the named algorithm, or every algorithm, lacks the capability.
        """
        row = self._row(item_id)
        algorithm = self._state.choose(model, "similar_items")
        rows, scores = algorithm.similar_items(np.array([row], np.int64), n)
        counts = self._counts()
        pairs = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        return algorithm.name, tuple(
            SimilarItem(self._item(each, counts), score) for each, score in pairs if each != PADDING
        )

    def list(
        self,
        *,
        query: str = "",
        category: str | None = None,
        year_from: int | None = None,
        year_to: int | None = None,
        after: str | None = None,
        offset: int = 0,
        limit: int = 20,
    ) -> CatalogPage:
        """List items by the match of the title with `query`, or by popularity. `total` counts all matches.

        The page starts after the item `after`, or at `offset` when that item is not in the list. Popularity is that of
        the training data, so that pages neither overlap nor skip items.
        """
        mask = self._mask(category, year_from, year_to)
        counts = self._counts()
        if query.strip():
            matches = self._titles().find(query, among=mask)
            # Order equal matches by popularity.
            matches.sort(key=lambda each: (-round(each[1]), -self._users_per_item[each[0]], each[0]))
            start = self._start(np.array([row for row, _ in matches], np.int64), after, offset)
            shown = matches[start : start + limit]
            return CatalogPage(tuple(self._item(row, counts, score) for row, score in shown), start, len(matches))
        rows = self._by_popularity[mask[self._by_popularity]]
        start = self._start(rows, after, offset)
        shown_rows = rows[start : start + limit].tolist()
        return CatalogPage(tuple(self._item(row, counts) for row in shown_rows), start, len(rows))

    def top(self, n: int, *, window_days: float | None = None, category: str | None = None) -> tuple[CatalogItem, ...]:
        """Return the items with the most users, optionally within the last days before the newest event."""
        mask = self._mask(category, None, None)
        counts = self._counts() if window_days is None else self._counts_within(window_days)
        scores = np.where(mask & (counts > 0), counts, -np.inf).astype(np.float32)[None, :]
        return tuple(self._item(row, counts) for row in select_top_k(scores, n)[0][0].tolist() if row != PADDING)

    def warm_up(self) -> None:
        """Build the index of titles, which takes 5 s for a million titles."""
        self._titles()

    def _start(self, rows: Items, after: str | None, offset: int) -> int:
        """Return the start of the page in these rows."""
        row = None if after is None else self._state.contents.items.row(after)
        positions = np.flatnonzero(rows == (PADDING if row is None else row))
        return int(positions[0]) + 1 if len(positions) else offset

    def _row(self, item_id: str) -> int:
        row = self._state.contents.items.row(item_id)
        if row is None:
            raise NotKnown(f"no item '{item_id[:100]}' in the training data", location=("path", "item_id"))
        return row

    def _counts(self) -> NDArray[np.int64]:
        return self._users_per_item + self._state.live_counts.read().added

    def _counts_within(self, days: float) -> NDArray[np.int64]:
        dataset = self._state.contents.dataset
        self._state.live_counts.read()
        changes = self._state.live_counts.changes
        newest = max((each.time for each in changes), default=0.0)
        if dataset.times is not None and len(dataset.times):
            newest = max(newest, float(dataset.times.max()))
        # Client clocks may be wrong: an event in the future must not empty the window.
        since = min(newest, self._clock()) - days * _DAY_S
        counts = np.zeros(dataset.items, np.int64)
        if dataset.times is not None:
            counts += np.bincount(dataset.interactions.indices[dataset.times > since], minlength=dataset.items)
        for each in changes:
            counts[each.row] += each.change * (each.time > since)
        return counts

    def _mask(self, category: str | None, year_from: int | None, year_to: int | None) -> NDArray[np.bool_]:
        metadata: ItemMetadata = self._state.item_metadata()
        mask = np.ones(len(self._state.contents.items), bool)
        if category is not None:
            mask &= metadata.has_any((category,))
        with np.errstate(invalid="ignore"):
            if year_from is not None:
                mask &= metadata.years >= year_from
            if year_to is not None:
                mask &= metadata.years <= year_to
        return mask

    def _titles(self) -> TitleSearch:
        if self._search is None:
            with self._lock:
                if self._search is None:
                    contents = self._state.contents
                    self._search = TitleSearch([contents.titles[row] for row in range(len(contents.items))])
        return self._search

    def _item(self, row: int, counts: NDArray[np.int64], score: float | None = None) -> CatalogItem:
        contents, metadata = self._state.contents, self._state.item_metadata()
        return CatalogItem(
            contents.items[row],
            contents.titles[row],
            metadata.categories_of(row),
            metadata.year(row),
            int(counts[row]),
            score,
        )

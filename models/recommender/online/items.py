"""The items of a recommender: described, found by title, counted over a window, and those alike. Knows ids and rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from models.errors import NotKnown
from models.recommender.algorithms.top_k import NOTHING, Items, best
from models.recommender.dataset.encoding import Value
from models.recommender.online.item_metadata import ItemMetadata
from models.recommender.online.state import RecommenderState
from models.recommender.online.title_search import TitleSearch

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Item:
    """One item. `interactions` counts its users, recent ones too. `score` is the search's, 0 to 100."""

    item_id: str
    title: str
    categories: tuple[str, ...]
    year: int | None
    interactions: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class ItemDetails:
    """One item and all its features; None when the feature store has no row."""

    item: Item
    features: Mapping[str, Value] | None
    rank: int
    """Place by popularity, from 1."""


@dataclass(frozen=True, slots=True)
class ItemLike:
    """An item and how like another, comparable within one answer only."""

    item: Item
    score: float


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Some of the items found, how many come before them, and how many there are."""

    items: tuple[Item, ...]
    offset: int
    total: int


class ItemCatalog:
    """Items of a recommender."""

    def __init__(self, knowledge: RecommenderState, *, clock: Callable[[], float] = time.time) -> None:
        self._knowledge = knowledge
        self._clock = clock
        self._lock = Lock()
        self._search: TitleSearch | None = None
        self._users_per_item = knowledge.contents.dataset.popularity()
        # As of training: pages of a list whose order follows events would overlap.
        self._by_popularity = np.argsort(-self._users_per_item, kind="stable")

    def details(self, item_id: str) -> ItemDetails:
        """One item. Raises NotKnown."""
        row = self._row(item_id)
        counts = self._counts()
        return ItemDetails(
            item=self._item(row, counts),
            features=self._knowledge.features.items.values(item_id),
            rank=int((counts > counts[row]).sum()) + 1,
        )

    def similar(self, item_id: str, n: int, model: str | None = None) -> tuple[str, tuple[ItemLike, ...]]:
        """The algorithm that found them and the items most like this one, best first.

        Raises NotKnown, and InvalidInput when the named algorithm cannot do this, or none.
        """
        row = self._row(item_id)
        algorithm = self._knowledge.choose(model, "similar_items")
        found, scores = algorithm.similar_items(np.array([row], np.int64), n)
        counts = self._counts()
        pairs = zip(found[0].tolist(), scores[0].tolist(), strict=True)
        return algorithm.name, tuple(
            ItemLike(self._item(each, counts), score) for each, score in pairs if each != NOTHING
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
    ) -> ItemPage:
        """Items by how well the title fits `query`; without one, the most popular first. `total` counts all found.

        The items of the list that follow the item `after`, wherever that is now; from `offset` on where it is gone.
        Popularity is that of the training data, so that pages neither overlap nor leave anything out.
        """
        mask = self._mask(category, year_from, year_to)
        counts = self._counts()
        if query.strip():
            found = self._titles().find(query, among=mask)
            # Of equally good titles the more popular one.
            found.sort(key=lambda each: (-round(each[1]), -self._users_per_item[each[0]], each[0]))
            start = self._start(np.array([row for row, _ in found], np.int64), after, offset)
            shown = found[start : start + limit]
            return ItemPage(tuple(self._item(row, counts, score) for row, score in shown), start, len(found))
        rows = self._by_popularity[mask[self._by_popularity]]
        start = self._start(rows, after, offset)
        shown_rows = rows[start : start + limit].tolist()
        return ItemPage(tuple(self._item(row, counts) for row in shown_rows), start, len(rows))

    def top(self, n: int, *, window_days: float | None = None, category: str | None = None) -> tuple[Item, ...]:
        """The items that most users took to, within the last days before the newest event where a window is given."""
        mask = self._mask(category, None, None)
        counts = self._counts() if window_days is None else self._counts_within(window_days)
        marks = np.where(mask & (counts > 0), counts, -np.inf).astype(np.float32)[None, :]
        return tuple(self._item(row, counts) for row in best(marks, n)[0][0].tolist() if row != NOTHING)

    def warm_up(self) -> None:
        """Make the index of titles, so that no search waits for it: 5 s for a million of them."""
        self._titles()

    def _start(self, rows: Items, after: str | None, offset: int) -> int:
        """Where a page of these rows begins."""
        row = None if after is None else self._knowledge.contents.items.row(after)
        places = np.flatnonzero(rows == (NOTHING if row is None else row))
        return int(places[0]) + 1 if len(places) else offset

    def _row(self, item_id: str) -> int:
        row = self._knowledge.contents.items.row(item_id)
        if row is None:
            raise NotKnown(f"no item '{item_id[:100]}' in the training data", location=("path", "item_id"))
        return row

    def _counts(self) -> NDArray[np.int64]:
        return self._users_per_item + self._knowledge.tally.read().added

    def _counts_within(self, days: float) -> NDArray[np.int64]:
        dataset = self._knowledge.contents.dataset
        self._knowledge.tally.read()
        recent = self._knowledge.tally.moments
        newest = max((each.time for each in recent), default=0.0)
        if dataset.times is not None and len(dataset.times):
            newest = max(newest, float(dataset.times.max()))
        # Clocks of clients go wrong: an event from the future must not empty the window.
        since = min(newest, self._clock()) - days * _DAY_S
        counts = np.zeros(dataset.items, np.int64)
        if dataset.times is not None:
            counts += np.bincount(dataset.interactions.indices[dataset.times > since], minlength=dataset.items)
        for each in recent:
            counts[each.row] += each.change * (each.time > since)
        return counts

    def _mask(self, category: str | None, year_from: int | None, year_to: int | None) -> NDArray[np.bool_]:
        facts: ItemMetadata = self._knowledge.facts()
        mask = np.ones(len(self._knowledge.contents.items), bool)
        if category is not None:
            mask &= facts.having((category,))
        with np.errstate(invalid="ignore"):
            if year_from is not None:
                mask &= facts.years >= year_from
            if year_to is not None:
                mask &= facts.years <= year_to
        return mask

    def _titles(self) -> TitleSearch:
        if self._search is None:
            with self._lock:
                if self._search is None:
                    contents = self._knowledge.contents
                    self._search = TitleSearch([contents.titles[row] for row in range(len(contents.items))])
        return self._search

    def _item(self, row: int, counts: NDArray[np.int64], score: float | None = None) -> Item:
        contents, facts = self._knowledge.contents, self._knowledge.facts()
        return Item(contents.items[row], contents.titles[row], facts.of(row), facts.year(row), int(counts[row]), score)

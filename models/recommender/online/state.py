"""All that a serving recommender knows: artifact, feature tables, recent events; lined up by the artifact's rows.

Knows rows and ids, never queries.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from scipy import sparse

from models.errors import InvalidInput
from models.recommender.algorithms.base import Capability
from models.recommender.algorithms.popularity import Popularity
from models.recommender.algorithms.top_k import Items
from models.recommender.archive import Contents
from models.recommender.dataset.dataset import history_of
from models.recommender.dataset.encoding import Encoder, Value
from models.recommender.dataset.feature_store import EMPTY, Features, FeatureStore, FeatureTable
from models.recommender.dataset.ids import IdIndex
from models.recommender.online.item_metadata import ItemMetadata, build_item_metadata
from models.recommender.online.live_counts import LiveCounts
from models.recommender.online.recent_events import RecentEvents
from models.recommender.online.segments import Segments
from models.recommender.registry import AnyAlgorithm

log = logging.getLogger("makunouchi.features")


class RecommenderState:
    """Safe to read from several threads at once."""

    def __init__(
        self, contents: Contents, store: FeatureStore, recent: RecentEvents, *, learned_from: Features | None = None
    ) -> None:
        """`learned_from` are tables whose attributes the artifact holds already, as they were when it was trained."""
        self.contents = contents
        self.recent = recent
        self.segments = Segments(contents.dataset)
        popular = contents.algorithms.get(Popularity.name)
        self.popular = popular if isinstance(popular, Popularity) else Popularity().fit(contents.dataset)
        self.tally = LiveCounts(contents, self.popular, recent)
        self._store = store
        self._lock = threading.Lock()
        self._facts_of: FeatureTable = EMPTY
        self._attributes_of = learned_from
        self._reading: threading.Thread | None = None
        self._facts = build_item_metadata(EMPTY, contents.items)
        if learned_from is not None and contents.dataset.is_dated:
            # The artifact holds what was true of people when they were last seen, not what is true now.
            self._refresh(learned_from)

    def refresh(self) -> None:
        """Have changed feature tables read into the algorithms that look attributes up, in a thread of its own."""
        features = self.features
        if features is self._attributes_of or not any(self._readers()):
            return
        with self._lock:
            if features is not self._attributes_of:
                self._attributes_of = features
                self._reading = threading.Thread(target=self._refresh, args=(features,), name="attributes", daemon=True)
                self._reading.start()

    def wait(self, timeout_s: float = 60.0) -> None:
        """Return when a refresh that was started has ended."""
        if self._reading is not None:
            self._reading.join(timeout_s)

    def _readers(self) -> Iterator[AnyAlgorithm]:
        return (each for each in self.contents.algorithms.values() if each.reads_attributes)

    def _refresh(self, features: Features) -> None:
        contents = self.contents
        users, items = contents.dataset.user_features, contents.dataset.item_features
        try:
            if len(features.users.ids) and users is not None:
                users = _encoded(contents.users, features.users, contents.user_encoder)
            if len(features.items.ids) and items is not None:
                items = _encoded(contents.items, features.items, contents.item_encoder)
        except InvalidInput as error:
            log.warning("attributes not reloaded: %s", error)
            return
        for each in self._readers():
            each.refresh(users, items)

    @property
    def features(self) -> Features:
        """The feature tables now."""
        return self._store.current()

    def facts(self) -> ItemMetadata:
        """Categories and years of the items."""
        table = self.features.items
        if table is not self._facts_of:
            with self._lock:
                if table is not self._facts_of:
                    self._facts, self._facts_of = build_item_metadata(table, self.contents.items), table
        return self._facts

    def seen(self, row: int) -> Items:
        """The items in the artifact that the user of a row interacted with."""
        if row < 0:
            return np.empty(0, np.int64)
        matrix = self.contents.dataset.interactions
        return np.asarray(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]], np.int64)

    def recent_of(self, user_id: str) -> tuple[Items, Items]:
        """Rows of the items that a user took to lately, oldest first, and of those that the user turned down."""
        liked, disliked = self.recent.of(user_id)
        return self.rows(liked), self.rows(disliked)

    def rows(self, item_ids: list[str] | tuple[str, ...]) -> Items:
        """Rows of the items that are known."""
        if not item_ids:
            return _NOTHING
        items = self.contents.items
        return np.array([row for each in item_ids if (row := items.row(each)) is not None], np.int64)

    def history(self, *parts: Items) -> sparse.csr_array:
        """One history (1, items) of several lists of items."""
        return history_of(np.concatenate(parts), len(self.contents.items))

    @property
    def has_user_features(self) -> bool:
        """Whether users have features at all, so that one without is missing something."""
        return self.features.has_users or self.contents.dataset.user_features is not None

    def known_features(self, user_id: str, row: int) -> sparse.csr_array | None:
        """The encoded features (1, F) of a user: of the feature store where it has users, else of the artifact."""
        features = self.features
        if features.has_users:
            values = features.users.values(user_id)
            return None if values is None else self.encoded(values, is_strict=False)
        matrix = self.contents.dataset.user_features
        if matrix is None or row < 0 or matrix.indptr[row] == matrix.indptr[row + 1]:
            return None
        return matrix[[row]]

    def feature_row(self, user_id: str, row: int) -> Literal["found", "missing"] | None:
        """Whether a known user has a row of features; None where no user has any."""
        if not self.has_user_features:
            return None
        features = self.features
        if features.has_users:
            return "missing" if features.users.ids.row(user_id) is None else "found"
        return "missing" if self.known_features(user_id, row) is None else "found"

    def encoded(self, values: Mapping[str, Value], *, is_strict: bool) -> sparse.csr_array | None:
        """Attributes as (1, F), None when they say nothing. Strict: an unknown name raises InvalidInput."""
        known = [attribute.name for attribute in self.contents.user_encoder.attributes]
        if is_strict:
            for name in values:
                if name not in known:
                    said = f"known: {', '.join(known)}" if known else "this model was trained without user features"
                    raise InvalidInput(f"no user feature '{name[:100]}'; {said}", location=("user_features", name))
        try:
            matrix = self.contents.user_encoder.encode([values])
        except InvalidInput as error:
            raise InvalidInput(str(error), location=("user_features",)) from error
        return matrix if matrix.nnz else None

    def knows_user(self, user_id: str) -> bool:
        """Whether anything is known of the user: trained on, did something lately, or has features."""
        return (
            self.contents.users.row(user_id) is not None
            or self.recent.knows(user_id)
            or self.features.users.ids.row(user_id) is not None
        )

    def able(self, capability: Capability) -> list[AnyAlgorithm]:
        """The algorithms served that can do something, the default one first."""
        first = self.contents.algorithms[self.contents.default]
        others = [each for each in self.contents.algorithms.values() if each is not first]
        return [each for each in (first, *others) if each.can(capability)]

    def algorithm(self, name: str | None) -> AnyAlgorithm:
        """The algorithm of that name, or the default one. Raises InvalidInput listing those that there are."""
        chosen = self.contents.algorithms.get(name or self.contents.default)
        if chosen is None:
            known = ", ".join(self.contents.algorithms)
            raise InvalidInput(f"no model '{(name or '')[:100]}' is served; known: {known}", location=("model",))
        return chosen

    def choose(self, name: str | None, capability: Capability) -> AnyAlgorithm:
        """The named algorithm; without a name the default one or, when that cannot do it, the first that can.

        Raises InvalidInput, listing who can, when the named one cannot, or none.
        """
        algorithm = self.algorithm(name)
        if algorithm.can(capability):
            return algorithm
        able = self.able(capability)
        if name is None and able:
            return able[0]
        raise self.cannot(algorithm, capability)

    def cannot(self, algorithm: AnyAlgorithm, capability: Capability) -> InvalidInput:
        """The error for being asked for what an algorithm does not do: it lists those that do."""
        able = ", ".join(each.name for each in self.able(capability)) or "none of those served"
        said = _SAID.get(capability, capability.replace("_", " "))
        return InvalidInput(f"model '{algorithm.name}' cannot {said}; these can: {able}", location=("model",))


def _encoded(ids: IdIndex, table: FeatureTable, encoder: Encoder) -> sparse.csr_array:
    """A row of attributes for each id of the artifact, empty for those without a row in the table."""
    return encoder.encode([table.values(ids[row]) or {} for row in range(len(ids))])


_SAID: Mapping[str, str] = {
    "history": "answer from a history",
    "user_features": "answer from user features",
    "similar_items": "find similar items",
    "similar_users": "find similar users",
    "explanations": "explain its answers",
}

_NOTHING: Items = np.empty(0, np.int64)

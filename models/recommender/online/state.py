"""The state of a serving recommender: artifact, feature tables and recent events, by rows of the artifact."""

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
from models.recommender.dataset.encoding import Encoder
from models.recommender.dataset.feature_store import FeatureStore
from models.recommender.dataset.feature_tables import EMPTY_TABLE, FeatureSnapshot, FeatureTable
from models.recommender.dataset.feature_value import FeatureValue
from models.recommender.dataset.ids import IdIndex
from models.recommender.online.item_metadata import ItemMetadata, build_item_metadata
from models.recommender.online.live_counts import LiveCounts
from models.recommender.online.recent_events import RecentEvents
from models.recommender.online.segments import Segments
from models.recommender.registry import AnyAlgorithm

log = logging.getLogger("makunouchi.features")


class RecommenderState:
    """The data that queries are answered from. Thread-safe."""

    def __init__(
        self,
        contents: Contents,
        store: FeatureStore,
        recent: RecentEvents,
        *,
        learned_from: FeatureSnapshot | None = None,
    ) -> None:
        """Index the data. `learned_from` are the tables that the artifact was trained on."""
        self.contents = contents
        self.recent = recent
        self.segments = Segments(contents.dataset)
        popular = contents.algorithms.get(Popularity.name)
        self.popular = popular if isinstance(popular, Popularity) else Popularity().fit(contents.dataset)
        self.live_counts = LiveCounts(contents, self.popular, recent)
        self._store = store
        self._lock = threading.Lock()
        self._metadata_table: FeatureTable = EMPTY_TABLE
        self._attribute_tables = learned_from
        self._refresh_thread: threading.Thread | None = None
        self._item_metadata = build_item_metadata(EMPTY_TABLE, contents.items)
        if learned_from is not None and contents.dataset.is_dated:
            # The artifact holds the features at the last interaction of each user, not the current ones.
            self._refresh(learned_from)

    def refresh(self) -> None:
        """Pass changed feature tables to the algorithms that look up attributes, in a thread."""
        features = self.features
        if features is self._attribute_tables or not any(self._attribute_readers()):
            return
        with self._lock:
            if features is not self._attribute_tables:
                self._attribute_tables = features
                self._refresh_thread = threading.Thread(
                    target=self._refresh, args=(features,), name="attributes", daemon=True
                )
                self._refresh_thread.start()

    def wait(self, timeout_s: float = 60.0) -> None:
        """Wait for a running refresh."""
        if self._refresh_thread is not None:
            self._refresh_thread.join(timeout_s)

    def _attribute_readers(self) -> Iterator[AnyAlgorithm]:
        return (each for each in self.contents.algorithms.values() if each.reads_attributes)

    def _refresh(self, features: FeatureSnapshot) -> None:
        contents = self.contents
        users, items = contents.dataset.user_features, contents.dataset.item_features
        try:
            if len(features.users.ids) and users is not None:
                users = _encode_table(contents.users, features.users, contents.user_encoder)
            if len(features.items.ids) and items is not None:
                items = _encode_table(contents.items, features.items, contents.item_encoder)
        except InvalidInput as error:
            log.warning("attributes not reloaded: %s", error)
            return
        for each in self._attribute_readers():
            each.refresh(users, items)

    @property
    def features(self) -> FeatureSnapshot:
        """The current feature tables."""
        return self._store.current()

    def item_metadata(self) -> ItemMetadata:
        """Return categories and years of the items."""
        table = self.features.items
        if table is not self._metadata_table:
            with self._lock:
                if table is not self._metadata_table:
                    self._item_metadata, self._metadata_table = build_item_metadata(table, self.contents.items), table
        return self._item_metadata

    def seen(self, row: int) -> Items:
        """Return the items of a user in the artifact."""
        if row < 0:
            return np.empty(0, np.int64)
        matrix = self.contents.dataset.interactions
        return np.asarray(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]], np.int64)

    def recent_items(self, user_id: str) -> tuple[Items, Items]:
        """Return rows of the items that a user liked recently, oldest first, and of those disliked."""
        liked, disliked = self.recent.preferences_of(user_id)
        return self.rows(liked), self.rows(disliked)

    def rows(self, item_ids: list[str] | tuple[str, ...]) -> Items:
        """Return the rows of the known items."""
        if not item_ids:
            return _NO_ITEMS
        items = self.contents.items
        return np.array([row for each in item_ids if (row := items.row(each)) is not None], np.int64)

    def history(self, *parts: Items) -> sparse.csr_array:
        """Combine lists of items into one history (1, items)."""
        return history_of(np.concatenate(parts), len(self.contents.items))

    @property
    def has_user_features(self) -> bool:
        """Whether users have features at all."""
        return self.features.has_users or self.contents.dataset.user_features is not None

    def known_features(self, user_id: str, row: int) -> sparse.csr_array | None:
        """Return the encoded features (1, F) of a user, from the feature store or the artifact."""
        features = self.features
        if features.has_users:
            values = features.users.values(user_id)
            return None if values is None else self.encode(values, is_strict=False)
        matrix = self.contents.dataset.user_features
        if matrix is None or row < 0 or matrix.indptr[row] == matrix.indptr[row + 1]:
            return None
        return matrix[[row]]

    def feature_row(self, user_id: str, row: int) -> Literal["found", "missing"] | None:
        """Return whether a known user has a row of features; None when no user has any."""
        if not self.has_user_features:
            return None
        features = self.features
        if features.has_users:
            return "missing" if features.users.ids.row(user_id) is None else "found"
        return "missing" if self.known_features(user_id, row) is None else "found"

    def encode(self, values: Mapping[str, FeatureValue], *, is_strict: bool) -> sparse.csr_array | None:
        """Encode attributes as (1, F), None when all are empty. Unknown names raise InvalidInput with `is_strict`."""
        known = [attribute.name for attribute in self.contents.user_encoder.attributes]
        if is_strict:
            for name in values:
                if name not in known:
                    hint = f"known: {', '.join(known)}" if known else "this model was trained without user features"
                    raise InvalidInput(f"no user feature '{name[:100]}'; {hint}", location=("user_features", name))
        try:
            matrix = self.contents.user_encoder.encode([values])
        except InvalidInput as error:
            raise InvalidInput(str(error), location=("user_features",)) from error
        return matrix if matrix.nnz else None

    def knows_user(self, user_id: str) -> bool:
        """Return whether the user has interactions, recent events or features."""
        return (
            self.contents.users.row(user_id) is not None
            or self.recent.knows(user_id)
            or self.features.users.ids.row(user_id) is not None
        )

    def supporting(self, capability: Capability) -> list[AnyAlgorithm]:
        """Return the algorithms with a capability, the default one first."""
        first = self.contents.algorithms[self.contents.default]
        others = [each for each in self.contents.algorithms.values() if each is not first]
        return [each for each in (first, *others) if each.supports(capability)]

    def algorithm(self, name: str | None) -> AnyAlgorithm:
        """Return the algorithm of that name, or the default one. Raise InvalidInput, listing the known ones."""
        chosen = self.contents.algorithms.get(name or self.contents.default)
        if chosen is None:
            known = ", ".join(self.contents.algorithms)
            raise InvalidInput(f"no model '{(name or '')[:100]}' is served; known: {known}", location=("model",))
        return chosen

    def choose(self, name: str | None, capability: Capability) -> AnyAlgorithm:
        """Return the named algorithm; without a name the default one, or the first with the capability.

        Raise InvalidInput, listing the algorithms with the capability, when no algorithm qualifies.
        """
        algorithm = self.algorithm(name)
        if algorithm.supports(capability):
            return algorithm
        alternatives = self.supporting(capability)
        if name is None and alternatives:
            return alternatives[0]
        raise self.unsupported(algorithm, capability)

    def unsupported(self, algorithm: AnyAlgorithm, capability: Capability) -> InvalidInput:
        """Create the error for a missing capability, listing the algorithms that have it."""
        others = ", ".join(each.name for each in self.supporting(capability)) or "none"
        task = _TASKS.get(capability, capability.replace("_", " "))
        return InvalidInput(f"model '{algorithm.name}' cannot {task}; these can: {others}", location=("model",))


def _encode_table(ids: IdIndex, table: FeatureTable, encoder: Encoder) -> sparse.csr_array:
    """Encode the attributes of each id of the artifact; the row is empty for an id without a row in the table."""
    return encoder.encode([table.values(ids[row]) or {} for row in range(len(ids))])


_TASKS: Mapping[str, str] = {
    "history": "answer from a history",
    "user_features": "answer from user features",
    "similar_items": "find similar items",
    "similar_users": "find similar users",
    "explanations": "explain its answers",
}

_NO_ITEMS: Items = np.empty(0, np.int64)

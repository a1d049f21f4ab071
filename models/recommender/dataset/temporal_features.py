"""Features that change over time, with lookup of the row that is valid at a moment (Unix seconds).

At a moment the latest row that is not after it is valid; before the first row there are no features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Rows = NDArray[np.int64]

ALWAYS = np.iinfo(np.int64).min
"""The start of a row without a time: it has always been valid."""


class FeatureLookup(Protocol):
    """A lookup of features by owner and moment."""

    @property
    def features(self) -> sparse.csr_array:
        """All rows, float32 (rows, F)."""

    def rows(self, owners: Rows, moments: Rows) -> Rows:
        """Return the row of `features` that is valid for each owner at its moment."""


class StaticFeatures:
    """One constant row of features per owner."""

    def __init__(self, features: sparse.csr_array) -> None:
        self.features = features

    def rows(self, owners: Rows, moments: Rows) -> Rows:
        """Return `owners`."""
        return owners


class TemporalFeatures:
    """Rows of features, each valid for its owner from a moment until the next row of the owner.

    Of several rows with the same owner and moment the last one is valid.
    """

    def __init__(self, owners: Rows, since: Rows, features: sparse.csr_array) -> None:
        """Sort the rows. `owners` and `since` are (rows,), `features` is (rows, F)."""
        order = np.lexsort((since, owners))
        self._owners, self._since = owners[order], since[order]
        self._moments = np.unique(since)
        self._keys = self._key(self._owners, self._since)
        ordered = features[order]
        # An empty row for owners before their first row.
        ends = np.append(ordered.indptr, ordered.indptr[-1])
        self.features = sparse.csr_array(
            (ordered.data, ordered.indices, ends), shape=(len(owners) + 1, ordered.shape[1])
        )

    def rows(self, owners: Rows, moments: Rows) -> Rows:
        """Return the row of `features` that is valid for each owner at its moment, else an empty row."""
        positions = np.searchsorted(self._keys, self._key(owners, moments), side="right") - 1
        is_known = positions >= 0
        is_known[is_known] = self._owners[positions[is_known]] == owners[is_known]
        return np.where(is_known, positions, len(self._owners))

    def at(self, moments: Rows) -> sparse.csr_array:
        """Return the features of all owners, owner i at `moments[i]`, (owners, F)."""
        return self.features[self.rows(np.arange(len(moments)), moments)]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays that `restore` takes, by name."""
        matrix = self.features
        return {
            "owners": self._owners,
            "since": self._since,
            "data": matrix.data,
            "indices": matrix.indices,
            "indptr": matrix.indptr[:-1],
            "width": np.array([matrix.shape[1]]),
        }

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Create the features from `arrays`. Any: arrays of several types."""
        shape = (len(arrays["owners"]), int(arrays["width"].item()))
        features = sparse.csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
        return cls(np.asarray(arrays["owners"], np.int64), np.asarray(arrays["since"], np.int64), features)

    def _key(self, owners: Rows, moments: Rows) -> Rows:
        # Use ranks of moments instead of seconds, so that owner and moment fit into one integer for any span of time.
        return owners * (len(self._moments) + 1) + np.searchsorted(self._moments, moments, side="right")

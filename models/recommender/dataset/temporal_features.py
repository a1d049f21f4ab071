"""Features that change: which row of them was true of a user or an item at a moment. Knows rows and Unix seconds.

What is known of someone at a moment is the latest row that is not after it, and nothing before the first one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Rows = NDArray[np.int64]

ALWAYS = np.iinfo(np.int64).min
"""The moment of a row that has none: it has always been true."""


class Known(Protocol):
    """Features of whoever is asked for, at a moment."""

    @property
    def features(self) -> sparse.csr_array:
        """All rows that there are, float32 (rows, F)."""

    def rows(self, owners: Rows, moments: Rows) -> Rows:
        """The row of `features` that was true of each owner at its moment."""


class Fixed:
    """One row of features for each owner, at all times."""

    def __init__(self, features: sparse.csr_array) -> None:
        self.features = features

    def rows(self, owners: Rows, moments: Rows) -> Rows:
        """The owners themselves."""
        return owners


class TemporalFeatures:
    """Rows of features, each true of its owner from a moment on, until that of the owner's next row.

    Of several rows of one owner and moment the last one given counts.
    """

    def __init__(self, owners: Rows, since: Rows, features: sparse.csr_array) -> None:
        """`owners` and `since` are (rows,), `features` (rows, F)."""
        order = np.lexsort((since, owners))
        self._owners, self._since = owners[order], since[order]
        self._moments = np.unique(since)
        self._keys = self._key(self._owners, self._since)
        chosen = features[order]
        # The row of those of whom nothing is known yet.
        ends = np.append(chosen.indptr, chosen.indptr[-1])
        self.features = sparse.csr_array((chosen.data, chosen.indices, ends), shape=(len(owners) + 1, chosen.shape[1]))

    def rows(self, owners: Rows, moments: Rows) -> Rows:
        """The row of `features` that was true of each owner at its moment; an empty one where none was."""
        places = np.searchsorted(self._keys, self._key(owners, moments), side="right") - 1
        is_known = places >= 0
        is_known[is_known] = self._owners[places[is_known]] == owners[is_known]
        return np.where(is_known, places, len(self._owners))

    def at(self, moments: Rows) -> sparse.csr_array:
        """The features of all owners, the first at the first of `moments` and so on, (owners, F)."""
        return self.features[self.rows(np.arange(len(moments)), moments)]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What `restore` makes an equal one of."""
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
        """Any: the arrays' own types."""
        shape = (len(arrays["owners"]), int(arrays["width"].item()))
        features = sparse.csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
        return cls(np.asarray(arrays["owners"], np.int64), np.asarray(arrays["since"], np.int64), features)

    def _key(self, owners: Rows, moments: Rows) -> Rows:
        # Places of moments rather than seconds: owner and moment fit into one number whatever the span of time.
        return owners * (len(self._moments) + 1) + np.searchsorted(self._moments, moments, side="right")

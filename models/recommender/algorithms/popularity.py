"""A popularity baseline, which needs no information on the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.base import Algorithm, Arrays, Capability, Progress
from models.recommender.algorithms.top_k import Scores
from models.recommender.dataset.dataset import Dataset, Rows

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class PopularityParams:
    """`window_days`: number of last days of the data to count; 0 counts all."""

    window_days: float = 0.0


class Popularity(Algorithm[PopularityParams]):
    """The share of users who interacted with an item, the same scores for all users."""

    name = "popular"
    params_type = PopularityParams
    capabilities: ClassVar[frozenset[Capability]] = frozenset({"known_users", "history", "user_features", "anyone"})

    scores_: NDArray[np.float32]

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        columns, since = dataset.interactions.indices, self.since(dataset)
        if since is not None and dataset.times is not None:
            columns = columns[dataset.times > since]
        counts = np.bincount(columns, minlength=dataset.items)
        self.scores_ = (counts / max(1, dataset.users)).astype(np.float32)
        progress(1, 1)

    def score(self, user_rows: Rows) -> Scores:
        return self.score_anyone(len(user_rows))

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        return self.score_anyone(histories.shape[0])

    def score_features(self, user_features: sparse.csr_array) -> Scores:
        return self.score_anyone(user_features.shape[0])

    def score_anyone(self, count: int) -> Scores:
        """Return the scores `count` times, (count, items)."""
        return np.tile(self.scores_, (count, 1))

    def since(self, dataset: Dataset) -> float | None:
        """Return the time from which interactions of `dataset` are counted, None when all are."""
        if self.params.window_days <= 0 or dataset.times is None or not len(dataset.times):
            return None
        return float(dataset.newest()) - self.params.window_days * _DAY_S

    def arrays(self) -> Arrays:
        return {"scores": self.scores_}

    def _restore(self, arrays: Arrays) -> None:
        self.scores_ = arrays["scores"].astype(np.float32, copy=False)

"""LightFM: hybrid factor models with ranking losses; users and items are sums of their features (Kula, 2015).

Only `fit` imports lightfm. Serving uses the trained representations, summed over features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.base import Arrays, Capability, Progress
from models.recommender.algorithms.factors import Factors, Matrix
from models.recommender.dataset.dataset import Dataset, stored_rows

Loss = Literal["warp", "bpr"]


@dataclass(frozen=True, slots=True)
class LightFMParams:
    """`user_feature_weight` and `item_feature_weight`: total weight of the features of a row; its identity has 1.

    0 disables them. With `threads` above 1 training is faster and not exactly reproducible.
    """

    factors: int = 64
    epochs: int = 20
    learning_rate: float = 0.03
    user_l2: float = 0.0
    item_l2: float = 0.0
    max_sampled: int = 100
    user_feature_weight: float = 1.0
    item_feature_weight: float = 1.0
    seed: int = 0
    threads: int = 1


class LightFMWarp(Factors[LightFMParams]):
    """A hybrid factor model with the WARP loss. It scores users by row, by history or by features."""

    name = "lightfm-warp"
    params_type = LightFMParams
    capabilities: ClassVar[frozenset[Capability]] = Factors.capabilities | {"user_features"}
    loss: ClassVar[Loss] = "warp"

    feature_factors_: Matrix
    """One vector per user feature, (features, d), to score users by features."""

    reference_: Any
    """The model of lightfm with its two feature matrices, only after `fit`. Any: lightfm has no types."""

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        from lightfm import LightFM

        params = self.params
        users = _with_identity(dataset.user_features, dataset.users, params.user_feature_weight)
        items = _with_identity(dataset.item_features, dataset.items, params.item_feature_weight)
        model = LightFM(
            no_components=params.factors,
            loss=self.loss,
            learning_rate=params.learning_rate,
            user_alpha=params.user_l2,
            item_alpha=params.item_l2,
            max_sampled=params.max_sampled,
            random_state=params.seed,
        )
        positives, weights = _positives(dataset.interactions)
        for epoch in range(params.epochs):
            model.fit_partial(
                positives,
                user_features=users,
                item_features=items,
                sample_weight=weights,
                epochs=1,
                num_threads=params.threads,
            )
            progress(epoch + 1, params.epochs)
        self.reference_ = (model, users, items)
        self.item_biases_, self.item_factors_ = _representations(*model.get_item_representations(items))
        _, self.user_factors_ = _representations(*model.get_user_representations(users))
        self.feature_factors_ = np.array(model.user_embeddings[dataset.users :], np.float32)

    def feature_vectors(self, user_features: sparse.csr_array) -> Matrix:
        return np.asarray(_shares(user_features, self.params.user_feature_weight) @ self.feature_factors_, np.float32)

    def arrays(self) -> Arrays:
        return {**super().arrays(), "feature_factors": self.feature_factors_}

    def _restore(self, arrays: Arrays) -> None:
        super()._restore(arrays)
        self.feature_factors_ = arrays["feature_factors"].astype(np.float32, copy=False)


class LightFMBpr(LightFMWarp):
    """A hybrid factor model with the BPR loss."""

    name = "lightfm-bpr"
    loss: ClassVar[Loss] = "bpr"


def _positives(interactions: sparse.csr_array) -> tuple[sparse.coo_matrix, sparse.coo_matrix | None]:
    rows = stored_rows(interactions).astype(np.int32)
    columns = interactions.indices.astype(np.int32)
    ones = np.ones(interactions.nnz, np.float32)
    positives = sparse.coo_matrix((ones, (rows, columns)), shape=interactions.shape)
    weights = np.asarray(interactions.data, np.float32)
    if np.all(weights == 1):
        return positives, None
    # lightfm multiplies the learning rate by the weight: counts in the hundreds would make training diverge.
    return positives, sparse.coo_matrix((weights / weights.mean(), (rows, columns)), shape=interactions.shape)


def _with_identity(features: sparse.csr_array | None, rows: int, weight: float) -> sparse.csr_matrix:
    identity = sparse.identity(rows, dtype=np.float32, format="csr")
    if features is None:
        return sparse.csr_matrix(identity)
    return sparse.csr_matrix(sparse.hstack([identity, _shares(features, weight)], format="csr", dtype=np.float32))


def _shares(features: sparse.csr_array, weight: float) -> sparse.csr_array:
    """Scale rows to the sum `weight`, which the features of a row share."""
    totals = np.asarray(features.sum(axis=1)).ravel()
    totals[totals == 0] = 1.0
    return sparse.csr_array(sparse.diags_array(weight / totals) @ features, dtype=np.float32)


def _representations(
    biases: NDArray[np.float32], factors: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.ascontiguousarray(biases, np.float32), np.ascontiguousarray(factors, np.float32)

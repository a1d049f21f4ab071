"""Factor models trained by the library implicit, which only `fit` imports."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from scipy import sparse

from models.blas import use_threads
from models.recommender.algorithms.base import Progress
from models.recommender.algorithms.factors import Factors, Matrix
from models.recommender.dataset.dataset import Dataset


@dataclass(frozen=True, slots=True)
class AlsParams:
    """`alpha`: confidence weight of an interaction of weight 1. `l2`: ridge penalty."""

    factors: int = 128
    epochs: int = 15
    l2: float = 20.0
    alpha: float = 2.0
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True, slots=True)
class BprParams:
    """One negative is sampled per positive and epoch. With more than one thread results are not reproducible.

    implicit samples negatives in proportion to popularity, so that scores measure preference relative to other users.
    `popularity` times the logarithm of the item's popularity is added as a correction: on a validation split of
    MovieLens-100K nDCG@10 is 0.128 with 0 and 0.251 with 1.
    """

    factors: int = 64
    epochs: int = 100
    learning_rate: float = 0.02
    l2: float = 0.03
    popularity: float = 1.0
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True, slots=True)
class LmfParams:
    """`negatives`: samples per positive. `popularity`: as in `BprParams`."""

    factors: int = 32
    epochs: int = 60
    learning_rate: float = 1.0
    l2: float = 2.0
    negatives: int = 30
    popularity: float = 1.0
    seed: int = 0
    threads: int = 1


P = TypeVar("P", bound=AlsParams | BprParams | LmfParams)


class _Implicit(Factors[P]):
    """The common part of the three models. implicit stores biases as additional coordinates."""

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        matrix = sparse.csr_matrix(dataset.interactions, dtype=np.float32)
        # implicit solves many small systems: BLAS is slower with threads, and implicit warns about them.
        with use_threads(1):
            model = self._model()
            self._train(model, matrix, progress)
        self.user_factors_ = _to_float32(model.user_factors)
        self.item_factors_ = _to_float32(model.item_factors)
        self.item_biases_ = self._correction(dataset)

    def _correction(self, dataset: Dataset) -> Matrix:
        """Return the popularity correction of item scores, (items,)."""
        weight = getattr(self.params, "popularity", 0.0)
        return np.asarray(weight * np.log(np.maximum(dataset.popularity(), 0.5)), np.float32)

    def _train(self, model: Any, matrix: sparse.csr_matrix, progress: Progress) -> None:  # Any: implicit has no types
        epochs: int = model.iterations
        model.fit(matrix, show_progress=False, callback=_callback(progress, epochs))

    @abstractmethod
    def _model(self) -> Any: ...  # Any: implicit has no types

    def _shared_arguments(self) -> dict[str, Any]:
        """Return the common hyperparameters by their names in implicit."""
        return {
            "factors": self.params.factors,
            "regularization": self.params.l2,
            "iterations": self.params.epochs,
            "random_state": self.params.seed,
            "num_threads": self.params.threads,
        }


class Als(_Implicit[AlsParams]):
    """Weighted least squares (Hu, Koren, Volinsky, ICDM 2008). Folding in matches training exactly."""

    name = "als"
    params_type = AlsParams

    def __init__(self, params: AlsParams | None = None) -> None:
        super().__init__(params)
        # A folded-in vector then equals the training solution for fixed item factors.
        self.fold_in_weight = self.params.alpha  # type: ignore[misc]
        self.fold_in_l2 = self.params.l2  # type: ignore[misc]

    def _model(self) -> Any:  # Any: implicit has no types
        from implicit.cpu.als import AlternatingLeastSquares

        return AlternatingLeastSquares(alpha=self.params.alpha, **self._shared_arguments())

    def _rescaled(self, folded: Matrix) -> Matrix:
        return folded


class Bpr(_Implicit[BprParams]):
    """Bayesian personalised ranking (Rendle et al., UAI 2009)."""

    name = "bpr"
    params_type = BprParams

    def _model(self) -> Any:  # Any: implicit has no types
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        return BayesianPersonalizedRanking(learning_rate=self.params.learning_rate, **self._shared_arguments())


class Lmf(_Implicit[LmfParams]):
    """Logistic matrix factorisation (Johnson, 2014)."""

    name = "lmf"
    params_type = LmfParams

    def _model(self) -> Any:  # Any: implicit has no types
        from implicit.cpu.lmf import LogisticMatrixFactorization

        return LogisticMatrixFactorization(
            learning_rate=self.params.learning_rate, neg_prop=self.params.negatives, **self._shared_arguments()
        )


def _to_float32(vectors: Any) -> Matrix:  # Any: implicit has no types
    return np.ascontiguousarray(vectors, np.float32)


def _callback(progress: Progress, epochs: int) -> Callable[..., None]:
    def on_epoch(epoch: int, *_: object) -> None:
        progress(epoch + 1, epochs)

    return on_epoch

"""What every predictor has in common. A predictor answers; an artifact is what it was loaded from."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.store.artifacts import Artifact


class ArrayPredictor(Protocol):
    """Answers a batch of rows with a batch of rows: image classifiers and tabular models.

    `predict` takes N rows (N >= 1) and returns float32 of shape (N, K): K probabilities, or K = 1 estimate. Row i of
    the answer depends on row i of the question alone. It is safe to call from several threads at once.
    """

    artifact: Artifact

    def predict(self, rows: NDArray[np.generic]) -> NDArray[np.float32]: ...

    def example(self) -> NDArray[np.generic]:
        """One valid row, shape (1, ...), for warm-up and probes."""
        ...

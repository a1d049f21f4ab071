"""Sum of thirty numbers: a model without cost, to measure the overhead of the server."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.workloads.base import Result


class Overhead:
    """`{"values": [...]}` to `{"sum": x}`."""

    def preprocess(self, request: Any) -> NDArray[np.float64]:
        return np.asarray(request["values"], np.float64)

    def predict(self, inputs: list[NDArray[np.float64]]) -> list[Result]:
        return [{"sum": value} for value in np.stack(inputs).sum(axis=1).tolist()]

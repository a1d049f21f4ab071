"""Thirty numbers and their sum: what a server costs when the model costs nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.workloads.base import Answer


class Overhead:
    """`{"values": [...]}` to `{"sum": x}`."""

    def item(self, request: Any) -> NDArray[np.float64]:
        return np.asarray(request["values"], np.float64)

    def answers(self, items: list[NDArray[np.float64]]) -> list[Answer]:
        return [{"sum": value} for value in np.stack(items).sum(axis=1).tolist()]

"""What the gateway may ask of a runner, wherever it runs: in this process, in another, on another host.

Holds the contract only. `hop` and `batching` implement it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import PredictionFailed


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Name and version of the artifact that answered."""

    name: str
    version: str


class FailedBy(PredictionFailed):
    """A failure of one version. What was made ready for another one may well fail: see `calls/editions.py`."""

    def __init__(self, message: str, model: ModelRef) -> None:
        super().__init__(message)
        self.model = model


@dataclass(frozen=True, slots=True)
class RowsAnswer:
    """float32 (N, K), one row per row asked, and the model that made them."""

    values: NDArray[np.float32]
    model: ModelRef


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """One JSON object per query asked, in order, and the model that made them."""

    values: list[dict[str, Any]]  # Any: JSON, typed by whoever asked
    model: ModelRef


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """Whether a runner has a model that answered its warm-up, and which.

    `versions` are those that it was told to hold, as far as it does.
    """

    ready: bool
    model: ModelRef | None
    detail: str = ""
    versions: tuple[str, ...] = ()


class Runner(Protocol):
    """Common to all runners."""

    name: str

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        """Ask the runner how it is. Never raises: a runner that is gone is `ready=False` with the reason."""
        ...


def model_of(runner: Runner) -> ModelRef | None:
    """The model of a runner as it was last heard, where the runner remembers. Costs nothing."""
    status = last_heard(runner)
    return status.model if status is not None else None


def last_heard(runner: Runner) -> RunnerStatus | None:
    """The status of a runner as it was last heard, where the runner remembers. Costs nothing."""
    status: RunnerStatus | None = getattr(runner, "last_status", None)
    return status


class RowsRunner(Runner, Protocol):
    """A runner whose batch is an array: images as uint8 (N, H, W, 3), table rows as float32 (N, F)."""

    async def predict(
        self, rows: NDArray[Any], *, deadline: float, version: str = "", method: str = "", is_low_priority: bool = False
    ) -> RowsAnswer:
        """Answer all rows or raise for this caller alone. `deadline` is in `time.monotonic()` seconds.

        `version` is the one that has to answer, and `method` the method that is asked; the default ones when empty.
        What is asked aside waits in a queue of its own, and never in front of anything else.
        Raises RunnerUnavailable, VersionNotLoaded, Overloaded, DeadlineExceeded, PredictionFailed.
        """
        ...


class QueryRunner(Runner, Protocol):
    """A runner whose batch is a list of JSON objects: recommendation queries."""

    async def ask(
        self, queries: list[dict[str, Any]], *, deadline: float, version: str = "", is_low_priority: bool = False
    ) -> QueryAnswer:
        """Answer all queries, or raise as `RowsRunner.predict` does. One query's own failure is in its answer."""
        ...

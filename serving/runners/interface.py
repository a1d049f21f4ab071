"""The interface of a runner, in this process, in another one, or on another host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Name and version of the artifact that answered."""

    name: str
    version: str


# What a runner takes and returns for several rows: an array, or one JSON object per row.
Payload = NDArray[Any] | list[dict[str, Any]]  # Any: JSON, typed by the kind of the model


@dataclass(frozen=True, slots=True)
class RunnerResponse:
    """One value per row of the request, in order, and the model that computed them."""

    values: Any  # Any: a Payload, typed by the kind of the model
    model: ModelRef


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many of the processes of a runner are ready."""

    up: int
    number: int


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """The status of a runner: whether its model has answered the warm-up, and which model that is.

    `versions` are the loaded versions that it was requested to hold. `faults` are the details of what another process
    cannot read again, by name; those of this process are `models.watch.failing()`. `replicas` is None for a runner of
    one process.
    """

    ready: bool
    model: ModelRef | None
    detail: str = ""
    versions: tuple[str, ...] = ()
    faults: Mapping[str, str] = field(default_factory=dict)
    replicas: Replicas | None = None


class Runner(Protocol):
    """A runner that reports its status."""

    name: str

    @property
    def last_status(self) -> RunnerStatus:
        """The status as it was last reported, at most some seconds ago. Sends nothing."""
        ...

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        """Ask the runner for its status. Never raises: an unreachable runner is `ready=False` with the reason."""
        ...


class ModelRunner(Runner, Protocol):
    """A runner of one model."""

    async def predict(
        self,
        payload: Payload,
        *,
        deadline: float,
        version: str = "",
        method: str = "",
        is_low_priority: bool = False,
    ) -> RunnerResponse:
        """Answer all rows of `payload`, or raise for this caller alone. `deadline` is in `time.monotonic()` seconds.

        `version` is the version that must answer, and `method` the batch method to call; empty means the default.
        A payload of more rows or bytes than a batch is split. Payloads of tasks with the priority `batch` wait behind
        the others, and low-priority payloads in a separate queue, behind everything else. Raises RunnerUnavailable,
        VersionNotLoaded, Overloaded, DeadlineExceeded, PredictionFailed.
        """
        ...

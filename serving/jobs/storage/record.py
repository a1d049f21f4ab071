"""A job as it is stored, and the states of its life."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]

STATUSES: Final[tuple[JobStatus, ...]] = ("queued", "running", "succeeded", "failed", "cancelled", "expired")
ACTIVE: Final[tuple[JobStatus, ...]] = ("queued", "running")
# An id is the name of a folder, so no other text is accepted.
JOB_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """A version of a model, and the number of items that it answered."""

    name: str
    version: str
    items: int


@dataclass(frozen=True, slots=True)
class Job:
    """One job. Times are Unix seconds. `done` items of `total` are answered, `failed` of them with an error.

    `kind` is the name of a `JobKind`. `fault` explains to the owner why a failed job failed. `options` are those of the
    submission.
    """

    id: str
    kind: str
    owner: str
    status: JobStatus
    total: int
    done: int
    failed: int
    created: float
    started: float | None
    finished: float | None
    expires: float | None
    options: Mapping[str, Any]  # Any: JSON
    models: tuple[ModelUsage, ...]
    fault: str
    fingerprint: str

    @property
    def is_active(self) -> bool:
        """Whether the job is queued or running."""
        return self.status in ACTIVE


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to add. Its files exist already, with `size_bytes` in total.

    `key` is the idempotency key of its owner. `fingerprint` differs for different jobs with the same key. `caller` is
    whose share of the disk it uses, and `reserved_bytes` the disk space that its result will need.
    """

    id: str
    kind: str
    owner: str
    total: int
    size_bytes: int
    options: Mapping[str, Any]  # Any: JSON
    fingerprint: str
    key: str | None = None
    caller: str = ""
    reserved_bytes: int = 0

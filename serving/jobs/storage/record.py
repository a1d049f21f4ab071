"""A job as it is stored, and what may become of it. Knows no database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

JobKind = Literal["images", "tabular", "recommendations"]
JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]

KINDS: Final[tuple[JobKind, ...]] = ("images", "tabular", "recommendations")
STATUSES: Final[tuple[JobStatus, ...]] = ("queued", "running", "succeeded", "failed", "cancelled", "expired")
ACTIVE: Final[tuple[JobStatus, ...]] = ("queued", "running")
# Names a folder: nothing else may.
JOB_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Answered:
    """A version of a model, and how many items it answered."""

    name: str
    version: str
    items: int


@dataclass(frozen=True, slots=True)
class Job:
    """One job. Times are Unix seconds. `done` items of `total` are answered, `failed` of them with an error.

    `fault` says why a failed job failed, in words for its owner. `options` are those of the call.
    """

    id: str
    kind: JobKind
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
    models: tuple[Answered, ...]
    fault: str
    fingerprint: str

    @property
    def is_active(self) -> bool:
        """Whether it waits or is under way."""
        return self.status in ACTIVE


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be added. Its files are in their place already, `size_bytes` of them.

    `key` names the request for its owner, and `fingerprint` tells requests of one key apart.
    """

    id: str
    kind: JobKind
    owner: str
    total: int
    size_bytes: int
    options: Mapping[str, Any]  # Any: JSON
    fingerprint: str
    key: str | None = None

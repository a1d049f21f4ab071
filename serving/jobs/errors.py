"""What can go wrong with a job, and the kinds of problem that clients are told."""

from __future__ import annotations

from typing import Final

from models.errors import PlatformError
from serving.kinds import Kind


class JobsUnavailable(PlatformError):
    """The folder or the database of the jobs cannot be used, or holds as much as it may. Nothing was kept."""


class TooManyJobs(PlatformError):
    """The caller has as many jobs as one may have. The message is made for clients."""


class JobNotDone(PlatformError):
    """A job has no result yet. The message is made for clients."""


class JobGone(PlatformError):
    """The result of a job has been thrown away. The message is made for clients."""


class KeyReused(PlatformError):
    """An Idempotency-Key came with another request than before. The message is made for clients."""


class NotAcceptable(PlatformError):
    """A result is asked for in a format that there is not. The message is made for clients."""


NOT_ACCEPTABLE: Final = Kind(
    "not-acceptable", 406, "No such format", "None of the media types in `Accept` is one that this answers in."
)
JOB_NOT_DONE: Final = Kind(
    "job-not-done", 409, "The job is not done", "It is still waiting or under way; try again.", retry_after_s=2
)
KEY_REUSED: Final = Kind(
    "key-reused", 409, "The key was used before", "The same `Idempotency-Key` came with another request."
)
JOB_GONE: Final = Kind("gone", 410, "No longer here", "The result was kept for as long as it says, and is gone.")
TOO_MANY_JOBS: Final = Kind(
    "too-many-jobs",
    429,
    "Too many jobs",
    "This caller has as many jobs as may be kept for one. Delete some, or wait until some expire.",
    retry_after_s=60,
)
JOBS_UNAVAILABLE: Final = Kind(
    "jobs-unavailable",
    503,
    "No job can be taken or read",
    "Where jobs are kept cannot be written or is full. Nothing was kept. Try again after `Retry-After` seconds.",
    retry_after_s=30,
    fault_is_ours=True,
)

JOB_KINDS: Final = (NOT_ACCEPTABLE, JOB_NOT_DONE, KEY_REUSED, JOB_GONE, TOO_MANY_JOBS, JOBS_UNAVAILABLE)
JOB_TABLE: Final[dict[type[Exception], Kind]] = {
    NotAcceptable: NOT_ACCEPTABLE,
    JobNotDone: JOB_NOT_DONE,
    KeyReused: KEY_REUSED,
    JobGone: JOB_GONE,
    TooManyJobs: TOO_MANY_JOBS,
    JobsUnavailable: JOBS_UNAVAILABLE,
}

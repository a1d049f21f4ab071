"""The table from error classes to problem types, and the log of internal errors."""

from __future__ import annotations

import errno
import logging
import traceback
from pathlib import Path
from typing import Final

from models.errors import (
    EXHAUSTED,
    DeadlineExceeded,
    FeedbackUnavailable,
    GateNotMet,
    InputError,
    InputTooLarge,
    InvalidInput,
    NotKnown,
    Overloaded,
    PredictionFailed,
    RunnerUnavailable,
    StoreUnavailable,
    UnsupportedMedia,
)
from serving.context import current_request_id
from serving.errors.exceptions import (
    BadQuery,
    CallerLimitReached,
    EmbeddingMissing,
    Forbidden,
    JobGone,
    JobNotDone,
    JobsUnavailable,
    KeyReused,
    KeysUnavailable,
    LimitReached,
    LimitsUnavailable,
    Malformed,
    ModelFailed,
    ModelRefused,
    NotAcceptable,
    PreconditionFailed,
    RateLimited,
    ReloadRefused,
    TooManyJobs,
    Unauthenticated,
    UnknownApiVersion,
)
from serving.errors.problem_types import (
    AT_CAPACITY,
    BAD_QUERY,
    CALLER_LIMIT,
    DEADLINE,
    FEEDBACK_UNAVAILABLE,
    FORBIDDEN,
    INTERNAL,
    JOB_GONE,
    JOB_NOT_DONE,
    JOBS_UNAVAILABLE,
    KEY_REUSED,
    KEYS_UNAVAILABLE,
    LIMITS_UNAVAILABLE,
    MALFORMED,
    MODEL_FAILED,
    MODEL_REFUSED,
    NO_EMBEDDING,
    NOT_ACCEPTABLE,
    NOT_KNOWN,
    OVERLOADED,
    PRECONDITION_FAILED,
    PREDICTION_FAILED,
    PROMOTION_REFUSED,
    RATE_LIMITED,
    RELOAD_REFUSED,
    RESOURCES_UNAVAILABLE,
    TOO_LARGE,
    TOO_MANY_JOBS,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNKNOWN_API_VERSION,
    UNSUPPORTED,
    VALIDATION,
    ProblemType,
)

log = logging.getLogger("makunouchi.errors")

_ROOT: Final = Path(__file__).parents[2]
_OURS: Final = (f"{_ROOT / 'serving'}/", f"{_ROOT / 'models'}/")

JOB_TABLE: Final[dict[type[Exception], ProblemType]] = {
    NotAcceptable: NOT_ACCEPTABLE,
    JobNotDone: JOB_NOT_DONE,
    KeyReused: KEY_REUSED,
    JobGone: JOB_GONE,
    TooManyJobs: TOO_MANY_JOBS,
    JobsUnavailable: JOBS_UNAVAILABLE,
}

# The most specific class of an error decides. An OSError of no class in the table is RESOURCES_UNAVAILABLE if its
# number is one of _LACKING; every other error is INTERNAL.
TABLE: dict[type[Exception], ProblemType] = {
    Malformed: MALFORMED,
    BadQuery: BAD_QUERY,
    Unauthenticated: UNAUTHENTICATED,
    Forbidden: FORBIDDEN,
    RateLimited: RATE_LIMITED,
    LimitsUnavailable: LIMITS_UNAVAILABLE,
    KeysUnavailable: KEYS_UNAVAILABLE,
    NotKnown: NOT_KNOWN,
    ReloadRefused: RELOAD_REFUSED,
    ModelRefused: MODEL_REFUSED,
    ModelFailed: MODEL_FAILED,
    GateNotMet: PROMOTION_REFUSED,
    EmbeddingMissing: NO_EMBEDDING,
    UnknownApiVersion: UNKNOWN_API_VERSION,
    InputTooLarge: TOO_LARGE,
    PreconditionFailed: PRECONDITION_FAILED,
    UnsupportedMedia: UNSUPPORTED,
    InvalidInput: VALIDATION,
    InputError: VALIDATION,
    RunnerUnavailable: UNAVAILABLE,
    LimitReached: AT_CAPACITY,
    CallerLimitReached: CALLER_LIMIT,
    Overloaded: OVERLOADED,
    DeadlineExceeded: DEADLINE,
    PredictionFailed: PREDICTION_FAILED,
    FeedbackUnavailable: FEEDBACK_UNAVAILABLE,
    StoreUnavailable: RESOURCES_UNAVAILABLE,
    MemoryError: RESOURCES_UNAVAILABLE,
    TimeoutError: DEADLINE,
    **JOB_TABLE,
}


# What the environment may lack: a resource, or access to a folder of the service.
_LACKING: Final = EXHAUSTED | {errno.EACCES, errno.EIO, errno.EPERM, errno.EROFS, errno.ESTALE}


def report(error: BaseException) -> None:
    """Log `error` with the request id, if its status is 500 or higher."""
    problem_type = problem_type_of(error)
    if problem_type.status >= 500:
        is_bug = problem_type.status == 500
        level = logging.ERROR if is_bug else logging.WARNING
        trace = error if is_bug else None
        text = _lacking(error) if isinstance(error, OSError) and not is_bug else error
        log.log(level, "%s [request_id=%s] %s", problem_type.slug, current_request_id(), text, exc_info=trace)


def problem_type_of(error: BaseException) -> ProblemType:
    """Return the problem type of `error`."""
    is_lacking = isinstance(error, OSError) and error.errno in _LACKING
    default = RESOURCES_UNAVAILABLE if is_lacking else INTERNAL
    return next((TABLE[cls] for cls in type(error).__mro__ if cls in TABLE), default)


def _lacking(error: OSError) -> str:
    """Return the text of an error of the operating system without its path, and the last place in our code."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f" at {Path(frame.filename).name}:{frame.lineno}" for frame in frames if frame.filename.startswith(_OURS)]
    return f"{errno.errorcode.get(error.errno or 0, 'OSError')}{places[-1] if places else ''}: {error.strerror}"


def detail_of(error: BaseException) -> str:
    """Return the `detail` for clients: the message of `error`, or the description of an internal problem type."""
    problem_type = problem_type_of(error)
    return problem_type.description if problem_type.is_internal or not str(error) else str(error)

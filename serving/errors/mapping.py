"""The table from error classes to problem types, and the log of internal errors."""

from __future__ import annotations

import logging
from typing import Final

from models.errors import (
    DeadlineExceeded,
    FeedbackUnavailable,
    InputError,
    InputTooLarge,
    InvalidInput,
    NotKnown,
    Overloaded,
    PredictionFailed,
    RunnerUnavailable,
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
    NotAcceptable,
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
    NO_EMBEDDING,
    NOT_ACCEPTABLE,
    NOT_KNOWN,
    OVERLOADED,
    PREDICTION_FAILED,
    RATE_LIMITED,
    RELOAD_REFUSED,
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

JOB_TABLE: Final[dict[type[Exception], ProblemType]] = {
    NotAcceptable: NOT_ACCEPTABLE,
    JobNotDone: JOB_NOT_DONE,
    KeyReused: KEY_REUSED,
    JobGone: JOB_GONE,
    TooManyJobs: TOO_MANY_JOBS,
    JobsUnavailable: JOBS_UNAVAILABLE,
}

# The most specific class of an error decides. Errors of no class in the table are INTERNAL.
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
    EmbeddingMissing: NO_EMBEDDING,
    UnknownApiVersion: UNKNOWN_API_VERSION,
    InputTooLarge: TOO_LARGE,
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
    TimeoutError: DEADLINE,
    **JOB_TABLE,
}


def report(error: BaseException) -> None:
    """Log `error` with the request id, if its status is 500 or higher."""
    problem_type = problem_type_of(error)
    if problem_type.status >= 500:
        is_bug = problem_type.status == 500
        level = logging.ERROR if is_bug else logging.WARNING
        trace = error if is_bug else None
        log.log(level, "%s [request_id=%s] %s", problem_type.slug, current_request_id(), error, exc_info=trace)


def problem_type_of(error: BaseException) -> ProblemType:
    """Return the problem type of `error`."""
    return next((TABLE[cls] for cls in type(error).__mro__ if cls in TABLE), INTERNAL)


def detail_of(error: BaseException) -> str:
    """Return the `detail` for clients: the message of `error`, or the description of an internal problem type."""
    problem_type = problem_type_of(error)
    return problem_type.description if problem_type.is_internal or not str(error) else str(error)

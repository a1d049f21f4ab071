"""The problem types that clients receive (RFC 9457): a stable name, a status, a title and a description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A problem type. `retry_after_s` is sent as Retry-After.

    `is_internal` replaces the message of the error by the description: it may contain internal details.
    """

    slug: str
    status: int
    title: str
    description: str
    retry_after_s: int | None = None
    is_internal: bool = False

    @property
    def type(self) -> str:
        """The `type` of the problem document."""
        return f"/problems/{self.slug}"


MALFORMED = ProblemType(
    "malformed", 400, "Malformed request body", "The body does not match its Content-Type, or is incomplete."
)
NOT_HTTP = ProblemType("not-http", 400, "Not HTTP", "The bytes are not a valid HTTP/1.1 request, or are ambiguous.")
BAD_QUERY = ProblemType(
    "bad-query", 400, "Invalid query string", "A list in the query string is empty or has too many items."
)
UNKNOWN_API_VERSION = ProblemType(
    "unknown-api-version", 400, "Unknown API version", "`API-Version` names a version that this service does not have."
)
UNAUTHENTICATED = ProblemType(
    "unauthenticated",
    401,
    "Authentication required",
    "Send an API key as `X-API-Key`, or an API key or a token as `Authorization: Bearer`.",
)
FORBIDDEN = ProblemType(
    "forbidden", 403, "Forbidden", "The credentials are valid but do not have the role that this operation requires."
)
NOT_FOUND = ProblemType("not-found", 404, "Not found", "No resource has this path. `GET /v1` lists all operations.")
NOT_KNOWN = ProblemType(
    "not-known", 404, "Unknown name", "The request names a model, a version, a user or an item that does not exist."
)
NOT_ALLOWED = ProblemType(
    "method-not-allowed", 405, "Method not allowed", "The path does not support this method. `Allow` lists its methods."
)
BODY_TIMEOUT = ProblemType(
    "body-timeout", 408, "Request body timeout", "The body did not arrive within the time limit."
)
HEAD_TIMEOUT = ProblemType(
    "headers-timeout", 408, "Request headers timeout", "The headers did not arrive within the time limit."
)
RELOAD_REFUSED = ProblemType(
    "reload-refused",
    409,
    "Version not usable",
    "The version could not be loaded or failed its warm-up prediction. The previous version remains in service.",
)
MODEL_REFUSED = ProblemType(
    "model-refused",
    409,
    "Model not usable",
    "The model could not be loaded, failed its warm-up prediction, or cannot be placed. Nothing has changed.",
)
PROMOTION_REFUSED = ProblemType(
    "promotion-refused",
    409,
    "Promotion refused",
    "The version is worse than the one that the alias names, or cannot be compared with it. The alias is unchanged; "
    "`force` with a `reason` overrides this.",
)
NO_EMBEDDING = ProblemType(
    "no-embedding",
    409,
    "Model without embeddings",
    "The version was trained before embeddings were supported, or its network has none. Train a new version.",
)
PRECONDITION_FAILED = ProblemType(
    "precondition-failed",
    412,
    "Precondition failed",
    "`If-Match` names an entity tag. Those of this service are weak, and no weak tag matches (RFC 9110, 13.1.1).",
)
TOO_LARGE = ProblemType("too-large", 413, "Too large", "The request exceeds a limit. `detail` states the limit.")
UNSUPPORTED = ProblemType(
    "unsupported-media-type", 415, "Unsupported media type", "The Content-Type or the file format is not supported."
)
VALIDATION = ProblemType(
    "validation", 422, "The request is not valid", "The request is well-formed but invalid. `errors` lists each fault."
)
RATE_LIMITED = ProblemType(
    "rate-limited",
    429,
    "Too many requests",
    "The caller has exceeded its rate limit. Retry after `Retry-After` seconds.",
    retry_after_s=1,
)
CALLER_LIMIT = ProblemType(
    "caller-limit",
    429,
    "Share of a limit in use",
    "The caller uses its share of a limit that all callers share; `detail` names it. Retry after one of its requests.",
    retry_after_s=1,
)
HEAD_TOO_LARGE = ProblemType(
    "headers-too-large", 431, "Request headers too large", "The headers exceed the limit that `detail` states."
)
LIMITS_UNAVAILABLE = ProblemType(
    "limits-unavailable",
    503,
    "Rate limits unavailable",
    "The store of the rate limits does not respond, so requests are refused. Retry after `Retry-After` seconds.",
    retry_after_s=5,
    is_internal=True,
)
KEYS_UNAVAILABLE = ProblemType(
    "keys-unavailable",
    503,
    "Tokens cannot be verified",
    "The public keys of the token issuer are not available at the moment. API keys still work.",
    retry_after_s=10,
    is_internal=True,
)
INTERNAL = ProblemType(
    "internal",
    500,
    "Internal error",
    "An unexpected error occurred. The log contains the cause under the request id.",
    is_internal=True,
)
PREDICTION_FAILED = ProblemType(
    "prediction-failed",
    500,
    "Prediction failed",
    "The model raised an error for this request. The log contains the cause under the request id.",
    is_internal=True,
)
MODEL_FAILED = ProblemType(
    "model-failed",
    503,
    "Model could not be loaded",
    "The model is not served because it could not be loaded. `GET /v1/models` has the reason.",
    retry_after_s=5,
)
UNAVAILABLE = ProblemType(
    "unavailable",
    503,
    "Model unavailable",
    "The model cannot answer at the moment. Retry after `Retry-After` seconds.",
    retry_after_s=5,
    is_internal=True,
)
OVERLOADED = ProblemType(
    "overloaded",
    503,
    "Queue full",
    "The queue of the model is full; the request was not started. Retry after `Retry-After` seconds.",
    retry_after_s=1,
    is_internal=True,
)
AT_CAPACITY = ProblemType(
    "at-capacity",
    503,
    "Limit reached",
    "A limit that all callers share is reached; `detail` names it. Nothing was started.",
    retry_after_s=1,
)
RESOURCES_UNAVAILABLE = ProblemType(
    "resources-unavailable",
    503,
    "Resources unavailable",
    "The service lacks disk space, files, memory or access to its folders at the moment. Retry after `Retry-After` "
    "seconds.",
    retry_after_s=5,
    is_internal=True,
)
FEEDBACK_UNAVAILABLE = ProblemType(
    "feedback-unavailable",
    503,
    "Feedback cannot be stored",
    "The feedback log cannot be written at the moment; nothing was stored. Retry after `Retry-After` seconds.",
    retry_after_s=2,
    is_internal=True,
)
NOT_READY = ProblemType(
    "not-ready",
    503,
    "Not ready",
    "At least one runner has not answered its warm-up prediction. `runners` lists the state of each.",
    retry_after_s=5,
)
DEADLINE = ProblemType(
    "deadline-exceeded",
    504,
    "Deadline exceeded",
    "The model did not answer within the time limit of the request.",
    is_internal=True,
)
NOT_ACCEPTABLE: Final = ProblemType(
    "not-acceptable", 406, "Not acceptable", "The operation supports none of the media types in `Accept`."
)
JOB_NOT_DONE: Final = ProblemType(
    "job-not-done", 409, "Job not done", "The job is queued or running. Retry later.", retry_after_s=2
)
KEY_REUSED: Final = ProblemType(
    "key-reused", 409, "Idempotency key reused", "This `Idempotency-Key` was sent before with a different request."
)
JOB_GONE: Final = ProblemType("gone", 410, "Result expired", "The result of the job has passed its retention time.")
TOO_MANY_JOBS: Final = ProblemType(
    "too-many-jobs",
    429,
    "Too many jobs",
    "The caller has the maximum number of stored jobs. Delete some, or wait until some expire.",
    retry_after_s=60,
)
JOBS_UNAVAILABLE: Final = ProblemType(
    "jobs-unavailable",
    503,
    "Jobs unavailable",
    "The storage of the jobs is unusable or full; nothing was stored. Retry after `Retry-After` seconds.",
    retry_after_s=30,
    is_internal=True,
)
JOB_PROBLEM_TYPES: Final = (NOT_ACCEPTABLE, JOB_NOT_DONE, KEY_REUSED, JOB_GONE, TOO_MANY_JOBS, JOBS_UNAVAILABLE)

PROBLEM_TYPES: tuple[ProblemType, ...] = (
    MALFORMED,
    NOT_HTTP,
    BAD_QUERY,
    UNKNOWN_API_VERSION,
    UNAUTHENTICATED,
    FORBIDDEN,
    NOT_FOUND,
    NOT_KNOWN,
    NOT_ALLOWED,
    BODY_TIMEOUT,
    HEAD_TIMEOUT,
    RELOAD_REFUSED,
    MODEL_REFUSED,
    MODEL_FAILED,
    PROMOTION_REFUSED,
    NO_EMBEDDING,
    PRECONDITION_FAILED,
    TOO_LARGE,
    UNSUPPORTED,
    VALIDATION,
    RATE_LIMITED,
    CALLER_LIMIT,
    HEAD_TOO_LARGE,
    INTERNAL,
    PREDICTION_FAILED,
    UNAVAILABLE,
    OVERLOADED,
    AT_CAPACITY,
    RESOURCES_UNAVAILABLE,
    FEEDBACK_UNAVAILABLE,
    NOT_READY,
    KEYS_UNAVAILABLE,
    LIMITS_UNAVAILABLE,
    DEADLINE,
    *JOB_PROBLEM_TYPES,
)
# Problems of every operation with a request body.
BODY_FAULTS: tuple[ProblemType, ...] = (MALFORMED, BODY_TIMEOUT, TOO_LARGE, UNSUPPORTED, VALIDATION)
# Problems of a call to a runner that the request does not cause.
CALL_FAILURES: tuple[ProblemType, ...] = (
    INTERNAL,
    PREDICTION_FAILED,
    UNAVAILABLE,
    OVERLOADED,
    AT_CAPACITY,
    CALLER_LIMIT,
    DEADLINE,
)

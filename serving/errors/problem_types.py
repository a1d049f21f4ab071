"""A kind of problem: what a client is told by name and status. Knows no errors and no transport."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem: its stable name, its status, what it means.

    `retry_after_s` is sent as Retry-After. `fault_is_ours` hides the error's own message: it may name internals.
    """

    slug: str
    status: int
    title: str
    description: str
    retry_after_s: int | None = None
    fault_is_ours: bool = False

    @property
    def type(self) -> str:
        """The `type` of the problem document."""
        return f"/problems/{self.slug}"


MALFORMED = ProblemType(
    "malformed", 400, "The body cannot be parsed", "The body is not the format its Content-Type says."
)
NOT_HTTP = ProblemType("not-http", 400, "Not HTTP", "The bytes are no request of HTTP/1.1, or could be read as two.")
BAD_QUERY = ProblemType(
    "bad-query", 400, "The query cannot be used", "A list in the query string is empty or too long."
)
UNKNOWN_API_VERSION = ProblemType(
    "unknown-api-version", 400, "No such version of the API", "`API-Version` is none of those that are known."
)
UNAUTHENTICATED = ProblemType(
    "unauthenticated",
    401,
    "Who calls is not known",
    "This takes an API key (`X-API-Key`), or a key or a token as `Authorization: Bearer`.",
)
FORBIDDEN = ProblemType("forbidden", 403, "Not allowed", "The key or token is good, and does not allow this.")
NOT_FOUND = ProblemType("not-found", 404, "There is nothing here", "No such path. `GET /v1` lists what there is.")
NOT_KNOWN = ProblemType(
    "not-known", 404, "Not known", "The request names a model, a version or a user that does not exist."
)
NOT_ALLOWED = ProblemType(
    "method-not-allowed", 405, "Method not allowed", "The path exists; its methods are in `Allow`."
)
BODY_TIMEOUT = ProblemType(
    "body-timeout", 408, "The body took too long", "The body did not arrive within the time limit."
)
HEAD_TIMEOUT = ProblemType(
    "headers-timeout", 408, "The headers took too long", "They did not arrive within the time limit."
)
RELOAD_REFUSED = ProblemType(
    "reload-refused",
    409,
    "The version cannot be served",
    "It could not be loaded, or did not answer its own example. The old version serves on.",
)
NO_EMBEDDING = ProblemType(
    "no-embedding",
    409,
    "The model gives no embedding",
    "The version that answers was trained before there were embeddings, or its network has none. Train it anew.",
)
TOO_LARGE = ProblemType(
    "too-large", 413, "Too large", "More bytes or pixels than a limit allows. The detail says which."
)
UNSUPPORTED = ProblemType(
    "unsupported-media-type", 415, "Unsupported media type", "A Content-Type, or a kind of file, that is not read here."
)
VALIDATION = ProblemType(
    "validation", 422, "The request is not valid", "Well-formed, but not acceptable. `errors` locates each fault."
)
RATE_LIMITED = ProblemType(
    "rate-limited",
    429,
    "Too many requests",
    "This key, or this address, asked more than it may in a while. Try again after `Retry-After` seconds.",
    retry_after_s=1,
)
HEAD_TOO_LARGE = ProblemType("headers-too-large", 431, "The headers are too large", "The limit is in the detail.")
LIMITS_UNAVAILABLE = ProblemType(
    "limits-unavailable",
    503,
    "Requests cannot be counted",
    "The store of the rate limits does not answer, and nothing is answered uncounted. Try again after `Retry-After`.",
    retry_after_s=5,
    fault_is_ours=True,
)
KEYS_UNAVAILABLE = ProblemType(
    "keys-unavailable",
    503,
    "Tokens cannot be checked",
    "The public keys of the tokens' issuer cannot be had at the moment. API keys are answered.",
    retry_after_s=10,
    fault_is_ours=True,
)
INTERNAL = ProblemType(
    "internal",
    500,
    "Internal error",
    "The request could not be answered. The cause is in the log, under the request id.",
    fault_is_ours=True,
)
PREDICTION_FAILED = ProblemType(
    "prediction-failed",
    500,
    "The model failed",
    "The model could not answer this request. The cause is in the log, under the request id.",
    fault_is_ours=True,
)
UNAVAILABLE = ProblemType(
    "unavailable",
    503,
    "The model is not available",
    "The model's process is not there at the moment. Try again after `Retry-After` seconds.",
    retry_after_s=5,
    fault_is_ours=True,
)
OVERLOADED = ProblemType(
    "overloaded",
    503,
    "Too many requests are waiting",
    "The queue in front of the model is full; nothing was started. Try again after `Retry-After` seconds.",
    retry_after_s=1,
    fault_is_ours=True,
)
FEEDBACK_UNAVAILABLE = ProblemType(
    "feedback-unavailable",
    503,
    "Feedback cannot be stored",
    "The log of the feedback cannot be written at the moment; nothing was kept. Try again after `Retry-After` seconds.",
    retry_after_s=2,
    fault_is_ours=True,
)
NOT_READY = ProblemType(
    "not-ready",
    503,
    "Not ready",
    "At least one runner has not answered its warm-up prediction. `runners` says which.",
    retry_after_s=5,
)
DEADLINE = ProblemType(
    "deadline-exceeded",
    504,
    "No answer in time",
    "The model did not answer within the time limit of a request.",
    fault_is_ours=True,
)
NOT_ACCEPTABLE: Final = ProblemType(
    "not-acceptable", 406, "No such format", "None of the media types in `Accept` is one that this answers in."
)
JOB_NOT_DONE: Final = ProblemType(
    "job-not-done", 409, "The job is not done", "It is still waiting or under way; try again.", retry_after_s=2
)
KEY_REUSED: Final = ProblemType(
    "key-reused", 409, "The key was used before", "The same `Idempotency-Key` came with another request."
)
JOB_GONE: Final = ProblemType("gone", 410, "No longer here", "The result was kept for as long as it says, and is gone.")
TOO_MANY_JOBS: Final = ProblemType(
    "too-many-jobs",
    429,
    "Too many jobs",
    "This caller has as many jobs as may be kept for one. Delete some, or wait until some expire.",
    retry_after_s=60,
)
JOBS_UNAVAILABLE: Final = ProblemType(
    "jobs-unavailable",
    503,
    "No job can be taken or read",
    "Where jobs are kept cannot be written or is full. Nothing was kept. Try again after `Retry-After` seconds.",
    retry_after_s=30,
    fault_is_ours=True,
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
    NO_EMBEDDING,
    TOO_LARGE,
    UNSUPPORTED,
    VALIDATION,
    RATE_LIMITED,
    HEAD_TOO_LARGE,
    INTERNAL,
    PREDICTION_FAILED,
    UNAVAILABLE,
    OVERLOADED,
    FEEDBACK_UNAVAILABLE,
    NOT_READY,
    KEYS_UNAVAILABLE,
    LIMITS_UNAVAILABLE,
    DEADLINE,
    *JOB_PROBLEM_TYPES,
)
# What can be wrong with a request that has a body, whatever it asks for.
BODY_FAULTS: tuple[ProblemType, ...] = (MALFORMED, BODY_TIMEOUT, TOO_LARGE, UNSUPPORTED, VALIDATION)
# What a call to a runner can meet that is no fault of the request.
CALL_FAILURES: tuple[ProblemType, ...] = (INTERNAL, PREDICTION_FAILED, UNAVAILABLE, OVERLOADED, DEADLINE)

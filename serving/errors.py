"""From an error to the kind of problem a client is told: one table. Knows status codes, no transport."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from models.errors import (
    DeadlineExceeded,
    FeedbackUnavailable,
    InputError,
    InputTooLarge,
    InvalidInput,
    NotKnown,
    Overloaded,
    PlatformError,
    PredictionFailed,
    RunnerUnavailable,
    UnsupportedMedia,
)
from serving.jobs.errors import JOB_KINDS, JOB_TABLE
from serving.kinds import Kind as Kind
from serving.request_id import current_request_id
from serving.schemas.problems import ValueType

_LOG = logging.getLogger("makunouchi.errors")


class Malformed(InputError):
    """A body that is not what its content type says: broken JSON, a multipart body without an end."""


class BadQuery(InputError):
    """A query string that cannot be used as a whole: an empty list, or one that is too long."""


class FieldFault(InvalidInput):
    """A fault of one field of the request, with the JSON type of what was sent (`absent` when nothing was)."""

    def __init__(self, message: str, *, location: tuple[str | int, ...], value_type: ValueType) -> None:
        super().__init__(message, location=location)
        self.value_type: ValueType = value_type


class Refused(PlatformError):
    """The caller is not let in; the message is made for them. `headers` go with the answer."""

    def __init__(self, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers: Mapping[str, str] = headers or {}


class Unauthenticated(Refused):
    """Nobody knows who calls. `is_wrong` tells that what was sent as a proof is none (RFC 6750, 3.1)."""

    def __init__(self, message: str, *, is_wrong: bool = False) -> None:
        challenge = 'Bearer realm="makunouchi"' + (', error="invalid_token"' if is_wrong else "")
        super().__init__(message, headers={"WWW-Authenticate": challenge})


class Forbidden(Refused):
    """The caller is known, or need not be, and may not do this."""


class RateLimited(Refused):
    """The caller asked more than it may in a while."""


class LimitsUnavailable(PlatformError):
    """Requests cannot be counted, and a setting says that none goes on uncounted."""


class ReloadRefused(PlatformError):
    """A version cannot be loaded or warmed up. The message is made for clients."""


class EmbeddingMissing(PlatformError):
    """The version that answers gives no embedding. The message is made for clients."""


class UnknownApiVersion(InputError):
    """A header asks for a version of the API that there is not."""


class KeysUnavailable(PlatformError):
    """The keys that a token is checked with cannot be had."""


MALFORMED = Kind("malformed", 400, "The body cannot be parsed", "The body is not the format its Content-Type says.")
NOT_HTTP = Kind("not-http", 400, "Not HTTP", "The bytes are no request of HTTP/1.1, or could be read as two.")
BAD_QUERY = Kind("bad-query", 400, "The query cannot be used", "A list in the query string is empty or too long.")
UNKNOWN_API_VERSION = Kind(
    "unknown-api-version", 400, "No such version of the API", "`API-Version` is none of those that are known."
)
UNAUTHENTICATED = Kind(
    "unauthenticated",
    401,
    "Who calls is not known",
    "This takes an API key (`X-API-Key`), or a key or a token as `Authorization: Bearer`.",
)
FORBIDDEN = Kind("forbidden", 403, "Not allowed", "The key or token is good, and does not allow this.")
NOT_FOUND = Kind("not-found", 404, "There is nothing here", "No such path. `GET /v1` lists what there is.")
NOT_KNOWN = Kind("not-known", 404, "Not known", "The request names a model, a version or a user that does not exist.")
NOT_ALLOWED = Kind("method-not-allowed", 405, "Method not allowed", "The path exists; its methods are in `Allow`.")
BODY_TIMEOUT = Kind("body-timeout", 408, "The body took too long", "The body did not arrive within the time limit.")
HEAD_TIMEOUT = Kind("headers-timeout", 408, "The headers took too long", "They did not arrive within the time limit.")
RELOAD_REFUSED = Kind(
    "reload-refused",
    409,
    "The version cannot be served",
    "It could not be loaded, or did not answer its own example. The old version serves on.",
)
NO_EMBEDDING = Kind(
    "no-embedding",
    409,
    "The model gives no embedding",
    "The version that answers was trained before there were embeddings, or its network has none. Train it anew.",
)
TOO_LARGE = Kind("too-large", 413, "Too large", "More bytes or pixels than a limit allows. The detail says which.")
UNSUPPORTED = Kind(
    "unsupported-media-type", 415, "Unsupported media type", "A Content-Type, or a kind of file, that is not read here."
)
VALIDATION = Kind(
    "validation", 422, "The request is not valid", "Well-formed, but not acceptable. `errors` locates each fault."
)
RATE_LIMITED = Kind(
    "rate-limited",
    429,
    "Too many requests",
    "This key, or this address, asked more than it may in a while. Try again after `Retry-After` seconds.",
    retry_after_s=1,
)
HEAD_TOO_LARGE = Kind("headers-too-large", 431, "The headers are too large", "The limit is in the detail.")
LIMITS_UNAVAILABLE = Kind(
    "limits-unavailable",
    503,
    "Requests cannot be counted",
    "The store of the rate limits does not answer, and nothing is answered uncounted. Try again after `Retry-After`.",
    retry_after_s=5,
    fault_is_ours=True,
)
KEYS_UNAVAILABLE = Kind(
    "keys-unavailable",
    503,
    "Tokens cannot be checked",
    "The public keys of the tokens' issuer cannot be had at the moment. API keys are answered.",
    retry_after_s=10,
    fault_is_ours=True,
)
INTERNAL = Kind(
    "internal",
    500,
    "Internal error",
    "The request could not be answered. The cause is in the log, under the request id.",
    fault_is_ours=True,
)
PREDICTION_FAILED = Kind(
    "prediction-failed",
    500,
    "The model failed",
    "The model could not answer this request. The cause is in the log, under the request id.",
    fault_is_ours=True,
)
UNAVAILABLE = Kind(
    "unavailable",
    503,
    "The model is not available",
    "The model's process is not there at the moment. Try again after `Retry-After` seconds.",
    retry_after_s=5,
    fault_is_ours=True,
)
OVERLOADED = Kind(
    "overloaded",
    503,
    "Too many requests are waiting",
    "The queue in front of the model is full; nothing was started. Try again after `Retry-After` seconds.",
    retry_after_s=1,
    fault_is_ours=True,
)
FEEDBACK_UNAVAILABLE = Kind(
    "feedback-unavailable",
    503,
    "Feedback cannot be stored",
    "The log of the feedback cannot be written at the moment; nothing was kept. Try again after `Retry-After` seconds.",
    retry_after_s=2,
    fault_is_ours=True,
)
NOT_READY = Kind(
    "not-ready",
    503,
    "Not ready",
    "At least one runner has not answered its warm-up prediction. `runners` says which.",
    retry_after_s=5,
)
DEADLINE = Kind(
    "deadline-exceeded",
    504,
    "No answer in time",
    "The model did not answer within the time limit of a request.",
    fault_is_ours=True,
)

# The nearest class in an error's ancestry decides; what is not below any of these is INTERNAL.
TABLE: dict[type[Exception], Kind] = {
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
    Overloaded: OVERLOADED,
    DeadlineExceeded: DEADLINE,
    PredictionFailed: PREDICTION_FAILED,
    FeedbackUnavailable: FEEDBACK_UNAVAILABLE,
    TimeoutError: DEADLINE,
    **JOB_TABLE,
}

KINDS: tuple[Kind, ...] = (
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
    *JOB_KINDS,
)

# What can be wrong with a request that has a body, whatever it asks for.
BODY_FAULTS: tuple[Kind, ...] = (MALFORMED, BODY_TIMEOUT, TOO_LARGE, UNSUPPORTED, VALIDATION)
# What a call to a runner can meet that is no fault of the request.
CALL_FAILURES: tuple[Kind, ...] = (INTERNAL, PREDICTION_FAILED, UNAVAILABLE, OVERLOADED, DEADLINE)


def report(error: BaseException) -> None:
    """Log `error` with the request's id, where it is this service's fault."""
    kind = kind_of(error)
    if kind.status >= 500:
        is_bug = kind.status == 500
        level = logging.ERROR if is_bug else logging.WARNING
        _LOG.log(
            level, "%s [request_id=%s] %s", kind.slug, current_request_id(), error, exc_info=error if is_bug else None
        )


def kind_of(error: BaseException) -> Kind:
    """The kind of problem that `error` is to a client."""
    return next((TABLE[cls] for cls in type(error).__mro__ if cls in TABLE), INTERNAL)


def detail_of(error: BaseException) -> str:
    """What a client is told about `error`: its message where it is made for clients, else what its kind means."""
    kind = kind_of(error)
    return kind.description if kind.fault_is_ours or not str(error) else str(error)

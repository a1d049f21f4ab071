"""The errors of serving. Messages are written for clients unless the problem type hides them (`is_internal`)."""

from __future__ import annotations

from collections.abc import Mapping

from models.errors import InputError, InvalidInput, Overloaded, PlatformError, RunnerUnavailable
from serving.errors.faults import ValueType


class Malformed(InputError):
    """A body that does not match its content type: broken JSON, an incomplete multipart body."""


class BadQuery(InputError):
    """A query string that is not usable as a whole: an empty list, or a list that is too long."""


class UnknownApiVersion(InputError):
    """An `API-Version` header that names an unknown version."""


class FieldFault(InvalidInput):
    """A fault of one field, with the JSON type of its value (`absent` if the field is missing)."""

    def __init__(self, message: str, *, location: tuple[str | int, ...], value_type: ValueType) -> None:
        super().__init__(message, location=location)
        self.value_type: ValueType = value_type


class Refused(PlatformError):
    """A request that the guard refuses. `headers` are added to the response."""

    def __init__(self, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers: Mapping[str, str] = headers or {}


class Unauthenticated(Refused):
    """A request without valid credentials. `is_wrong`: it has credentials, but they are invalid (RFC 6750, 3.1)."""

    def __init__(self, message: str, *, is_wrong: bool = False) -> None:
        challenge = 'Bearer realm="makunouchi"' + (', error="invalid_token"' if is_wrong else "")
        super().__init__(message, headers={"WWW-Authenticate": challenge})


class Forbidden(Refused):
    """A request that its caller is not allowed to make."""


class RateLimited(Refused):
    """A request over the rate limit of its caller."""


class LimitReached(Overloaded):
    """A limit that all callers share is reached."""


class CallerLimitReached(Overloaded):
    """A caller that uses its share of a limit that all callers share."""


class LimitsUnavailable(PlatformError):
    """The store of the rate limits does not respond, and the setting refuses requests without it."""


class KeysUnavailable(PlatformError):
    """The public keys of the token issuer cannot be fetched."""


class ServiceStopping(RunnerUnavailable):
    """A request during the shutdown of the service."""

    def __init__(self) -> None:
        super().__init__("the service is stopping")


class ReloadRefused(PlatformError):
    """A version that cannot be loaded or fails its warm-up."""


class ModelRefused(PlatformError):
    """A model that cannot be loaded, fails its warm-up, or cannot be placed."""


class ModelFailed(PlatformError):
    """A request to a model that could not be loaded."""


class EmbeddingMissing(PlatformError):
    """A model version without embeddings."""


class PreconditionFailed(PlatformError):
    """A request is to be executed only for an entity tag that the resource does not have."""


class NotAcceptable(PlatformError):
    """A request for a result in an unsupported format."""


class JobsUnavailable(PlatformError):
    """The folder or the database of the jobs is unusable or full. Nothing was stored."""


class TooManyJobs(PlatformError):
    """A caller at its maximum number of jobs."""


class JobNotDone(PlatformError):
    """A job without a result yet."""


class JobGone(PlatformError):
    """A job whose result has been deleted."""


class KeyReused(PlatformError):
    """An Idempotency-Key that was sent before with another request."""

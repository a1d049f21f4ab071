"""What can go wrong with a job, and the kinds of problem that clients are told."""

from __future__ import annotations

from collections.abc import Mapping

from models.errors import (
    InputError,
    InvalidInput,
    PlatformError,
)
from serving.errors.faults import ValueType
from serving.errors.problem_types import ProblemType as ProblemType


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

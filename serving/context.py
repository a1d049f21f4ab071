"""Per-request context: the request id, the deadline and the connection, and the requested version of a model."""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final

_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
_request_id: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """Id of the request that this task answers; empty outside of one."""
    return _request_id.get()


def set_request_id(request_id: str) -> None:
    """Make `request_id` the current one for this task and the tasks that it starts."""
    _request_id.set(request_id)


def accept_or_make(offered: bytes | None) -> str:
    """The client's id when it is 1..128 of `A-Za-z0-9._-`, else a new one of 32 hexadecimal digits."""
    if offered is not None:
        text = offered.decode("latin-1")
        if _SANE.match(text):
            return text
    return secrets.token_hex(16)


VERSION_HEADER = "X-Model-Version"


@dataclass(frozen=True, slots=True)
class VersionRequest:
    """One request's side of the choice. `location` is where `version` stood in the request.

    `unit` gives what its caller is told apart by; it is asked only where traffic is shared out.
    """

    version: str = ""
    location: tuple[str | int, ...] = ("header", VERSION_HEADER)
    unit: Callable[[], str] = current_request_id


DEFAULT_VERSION: Final = VersionRequest()
_version_request: ContextVar[VersionRequest] = ContextVar("version_request", default=DEFAULT_VERSION)


def current_version_request() -> VersionRequest:
    """Who asks in this task; outside of a request nobody."""
    return _version_request.get()


def set_version_request(asker: VersionRequest) -> None:
    """Make `asker` the one who asks, for this task and the tasks that it starts."""
    _version_request.set(asker)


@contextmanager
def requesting_version(version: str | None, *, location: tuple[str | int, ...]) -> Iterator[None]:
    """Within the block `version` is asked for, where it is one: what a body or a path says comes before a header."""
    if not version:
        yield
        return
    token = _version_request.set(replace(_version_request.get(), version=version, location=location))
    try:
        yield
    finally:
        _version_request.reset(token)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The waiting side of one request.

    `deadline` is in `time.monotonic()` seconds. `is_gone` tells whether the connection was closed meanwhile.
    `traceparent` is the W3C header as it came, or empty.
    """

    deadline: float
    is_gone: Callable[[], bool]
    traceparent: str = ""


def _stays() -> bool:
    return False


NO_DEADLINE: Final = RequestContext(deadline=float("inf"), is_gone=_stays)
_context: ContextVar[RequestContext] = ContextVar("request_context", default=NO_DEADLINE)


def current_context() -> RequestContext:
    """The caller that this task answers; outside of a request one that waits for ever."""
    return _context.get()


def set_context(caller: RequestContext) -> None:
    """Make `caller` the current one for this task and the tasks that it starts."""
    _context.set(caller)


def deadline(timeout_s: float) -> float:
    """The `time.monotonic()` at which the current call has to be answered, at most `timeout_s` from now."""
    given = current_context().deadline
    return given if math.isfinite(given) else time.monotonic() + timeout_s


def elapsed_ms(started: float) -> float:
    """Milliseconds since `started`, in `time.perf_counter()` seconds."""
    return round((time.perf_counter() - started) * 1e3, 3)

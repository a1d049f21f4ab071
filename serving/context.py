"""Per-request context: the request id, the caller, the deadline and the connection, and the requested model version."""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final, Literal

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
_request_id: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """Return the id of the current request; empty outside of a request."""
    return _request_id.get()


def set_request_id(request_id: str) -> None:
    """Set the request id of this task and of the tasks that it starts."""
    _request_id.set(request_id)


def accept_or_make(offered: bytes | None) -> str:
    """Return the client's id if it is 1 to 128 characters of `A-Za-z0-9._-`, else a new one of 32 hex digits."""
    if offered is not None:
        text = offered.decode("latin-1")
        if _VALID_ID.match(text):
            return text
    return secrets.token_hex(16)


def _no_caller() -> str:
    return ""


_caller: ContextVar[Callable[[], str]] = ContextVar("caller", default=_no_caller)


def current_caller() -> str:
    """Return the caller of this task: `key:NAME` or `address:ADDRESS`; empty outside of a request."""
    return _caller.get()()


def set_caller(caller: Callable[[], str]) -> None:
    """Set the caller of this task and of the tasks that it starts. `caller` is called only where a limit is shared."""
    _caller.set(caller)


# Requests of `batch` wait for those of `interactive`.
Priority = Literal["interactive", "batch"]
PRIORITIES: Final[tuple[Priority, ...]] = ("interactive", "batch")
_priority: ContextVar[Priority] = ContextVar("priority", default="interactive")


def current_priority() -> Priority:
    """Return the priority of this task."""
    return _priority.get()


def set_priority(priority: Priority) -> None:
    """Set the priority of this task and of the tasks that it starts."""
    _priority.set(priority)


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """The URL under which a client reaches this service through trusted proxies: `https://host`, and a path prefix."""

    origin: str = ""
    prefix: str = ""


# The client sent the request to this service itself, or the proxies in front of it are not trusted.
DIRECT: Final = PublicUrl()
_public_url: ContextVar[PublicUrl] = ContextVar("public_url", default=DIRECT)


def current_public_url() -> PublicUrl:
    """Return the public URL of this task; DIRECT outside of a request."""
    return _public_url.get()


def set_public_url(url: PublicUrl) -> None:
    """Set the public URL of this task and of the tasks that it starts."""
    _public_url.set(url)


def public_path(path: str) -> str:
    """Return the path under which the client of this request finds `path`."""
    return _public_url.get().prefix + path


VERSION_HEADER = "X-Model-Version"


@dataclass(frozen=True, slots=True)
class VersionRequest:
    """The model version that a request asks for; empty for the default version.

    `location` is the place of `version` in the request, for error messages. `sticky_key` returns the key by which a
    traffic split routes a caller to the same version every time; it is called only when traffic is split.
    """

    version: str = ""
    location: tuple[str | int, ...] = ("header", VERSION_HEADER)
    sticky_key: Callable[[], str] = current_request_id


DEFAULT_VERSION: Final = VersionRequest()
_version_request: ContextVar[VersionRequest] = ContextVar("version_request", default=DEFAULT_VERSION)


def current_version_request() -> VersionRequest:
    """Return the version request of this task; DEFAULT_VERSION outside of a request."""
    return _version_request.get()


def set_version_request(request: VersionRequest) -> None:
    """Set the version request of this task and of the tasks that it starts."""
    _version_request.set(request)


@contextmanager
def requesting_version(version: str | None, *, location: tuple[str | int, ...]) -> Iterator[None]:
    """Request `version` within the block, if it is given: a version in a body or a path overrides the header."""
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
    """The deadline of a request in `time.monotonic()` seconds, the state of its connection, and its W3C `traceparent`.

    It is a separate context variable, next to the request id and the version request: they are set in different
    places, and one object would have to be copied at each of them.
    """

    deadline: float
    is_disconnected: Callable[[], bool]
    traceparent: str = ""


def _is_never_disconnected() -> bool:
    return False


NO_DEADLINE: Final = RequestContext(deadline=float("inf"), is_disconnected=_is_never_disconnected)
_context: ContextVar[RequestContext] = ContextVar("request_context", default=NO_DEADLINE)


def current_context() -> RequestContext:
    """Return the request context of this task; NO_DEADLINE outside of a request."""
    return _context.get()


def set_context(context: RequestContext) -> None:
    """Set the request context of this task and of the tasks that it starts."""
    _context.set(context)


class Answering:
    """A block that answers a request: its id, deadline and trace. A generator would take 2 us more per batch."""

    __slots__ = ("_context", "_request_id", "_tokens")

    def __init__(self, request_id: str, deadline: float, traceparent: str) -> None:
        self._request_id = request_id
        self._context = RequestContext(deadline, _is_never_disconnected, traceparent)

    def __enter__(self) -> None:
        self._tokens = _context.set(self._context), _request_id.set(self._request_id)

    def __exit__(self, *_: object) -> None:
        _context.reset(self._tokens[0])
        _request_id.reset(self._tokens[1])


def deadline(timeout_s: float) -> float:
    """Return the deadline of the current request in `time.monotonic()` seconds, or `timeout_s` from now without one."""
    given = current_context().deadline
    return given if math.isfinite(given) else time.monotonic() + timeout_s


def elapsed_ms(started: float) -> float:
    """Return the milliseconds since `started`, a value of `time.perf_counter()`."""
    return round((time.perf_counter() - started) * 1e3, 3)

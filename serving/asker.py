"""Who asks a model, and for which version: what a request's version is chosen by. Knows headers, no models.

The version comes in `X-Model-Version`. What a caller is told apart by, so that it meets the same version every time, is
`X-Session-ID` where it sent one, else its key or the subject of its token, else its address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from starlette.types import Scope

from serving.guard import IDENTITY, Guard
from serving.limits import client_of
from serving.request_id import current_request_id

VERSION_HEADER = "X-Model-Version"
SESSION_HEADER = "X-Session-ID"
_VERSION, _SESSION = VERSION_HEADER.lower().encode(), SESSION_HEADER.lower().encode()


@dataclass(frozen=True, slots=True)
class Asker:
    """One request's side of the choice. `location` is where `version` stood in the request.

    `unit` gives what its caller is told apart by; it is asked only where traffic is shared out.
    """

    version: str = ""
    location: tuple[str | int, ...] = ("header", VERSION_HEADER)
    unit: Callable[[], str] = current_request_id


NOBODY = Asker()
_current: ContextVar[Asker] = ContextVar("asker", default=NOBODY)


def current_asker() -> Asker:
    """Who asks in this task; outside of a request nobody."""
    return _current.get()


def set_asker(asker: Asker) -> None:
    """Make `asker` the one who asks, for this task and the tasks that it starts."""
    _current.set(asker)


@contextmanager
def asking_for(version: str | None, *, location: tuple[str | int, ...]) -> Iterator[None]:
    """Within the block `version` is asked for, where it is one: what a body or a path says comes before a header."""
    if not version:
        yield
        return
    token = _current.set(replace(_current.get(), version=version, location=location))
    try:
        yield
    finally:
        _current.reset(token)


def asker_of(scope: Scope, guard: Guard) -> Asker:
    """Who asks, of a request or a WebSocket that `guard` has admitted."""
    return Asker(_header(scope, _VERSION), unit=lambda: _unit(scope, guard))


def _unit(scope: Scope, guard: Guard) -> str:
    session = _header(scope, _SESSION)
    if session:
        return f"session:{session}"
    identity = scope.get(IDENTITY)
    if identity is not None and identity.name:
        return f"key:{identity.name}"
    address = client_of(scope, guard.limits.trusted)
    # Over a unix socket nobody has an address: each request is its own.
    return f"address:{address}" if address != "unknown" else current_request_id()


def _header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return ""

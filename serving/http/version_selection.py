"""Who asks a model, and for which version: what a request's version is chosen by. Knows headers, no models.

The version comes in `X-Model-Version`. What a caller is told apart by, so that it meets the same version every time, is
`X-Session-ID` where it sent one, else its key or the subject of its token, else its address.
"""

from __future__ import annotations

from starlette.types import Scope

from serving.access.guard import IDENTITY, Guard
from serving.access.rate_limits import client_of
from serving.context import (
    VERSION_HEADER,
    VersionRequest,
    current_request_id,
)

SESSION_HEADER = "X-Session-ID"
_VERSION, _SESSION = VERSION_HEADER.lower().encode(), SESSION_HEADER.lower().encode()


def version_request_of(scope: Scope, guard: Guard) -> VersionRequest:
    """Who asks, of a request or a WebSocket that `guard` has admitted."""
    return VersionRequest(_header(scope, _VERSION), unit=lambda: _unit(scope, guard))


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

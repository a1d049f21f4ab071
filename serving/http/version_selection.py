"""The model version that a request asks for, from its headers.

`X-Model-Version` names the version. When traffic is split, a caller is routed to the same version every time by its
sticky key: the value of `X-Session-ID`, else the name of its key or the subject of its token, else its address.
"""

from __future__ import annotations

from starlette.types import Scope

from serving.access.callers import caller_key
from serving.access.client_address import UNKNOWN
from serving.access.guard import IDENTITY, Guard
from serving.context import VERSION_HEADER, VersionRequest, current_request_id

SESSION_HEADER = "X-Session-ID"
_VERSION, _SESSION = VERSION_HEADER.lower().encode(), SESSION_HEADER.lower().encode()


def version_request_of(scope: Scope, guard: Guard) -> VersionRequest:
    """Return the version request of an HTTP request or a WebSocket that `guard` has admitted."""
    return VersionRequest(_header(scope, _VERSION), sticky_key=lambda: _sticky_key(scope, guard))


def _sticky_key(scope: Scope, guard: Guard) -> str:
    session = _header(scope, _SESSION)
    if session:
        return f"session:{session}"
    caller = caller_key(scope, scope.get(IDENTITY), guard.limits.trusted)
    # Over a unix socket a request has no address, so it counts as its own caller.
    return caller if caller != f"address:{UNKNOWN}" else current_request_id()


def _header(scope: Scope, header: bytes) -> str:
    for name, value in scope["headers"]:
        if name == header:
            return str(value.decode("latin-1"))
    return ""

"""The caller of a request, to which rate limits and shares of limits apply."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import Scope

from serving.access.client_address import Network, client_address
from serving.access.roles import Identity


def caller_key(scope: Scope, identity: Identity | None, trusted: Sequence[Network]) -> str:
    """Return `key:NAME` for a key or the subject of a token, else `address:ADDRESS`."""
    if identity is not None and identity.name:
        return f"key:{identity.name}"
    return f"address:{client_address(scope, trusted)}"

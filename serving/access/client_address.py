"""The client address of a request, behind trusted proxies.

uvicorn's ProxyHeadersMiddleware answers the same question, but compares an IPv4-mapped peer (`::ffff:10.0.0.1`) as
IPv6, returns an entry that is not an address, and also replaces the scheme of the scope.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.types import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UNKNOWN = "unknown"


def client_address(scope: Scope, trusted: Sequence[Network]) -> str:
    """Return the last address in X-Forwarded-For that is not in `trusted`, or UNKNOWN without an address.

    Entries before that one come from the client and are ignored. An IPv6 address counts as its /64, the range that one
    host has.
    """
    client = scope.get("client")
    address = _parse(client[0]) if client else None
    if address is None:
        return UNKNOWN
    if trusted and _is_in(address, trusted):
        header = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
        for entry in reversed(header.split(",")):
            hop = _parse(entry.strip())
            if hop is None:
                break
            address = hop
            if not _is_in(hop, trusted):
                break
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


def _parse(text: str) -> Address | None:
    """Return the address in `text`, with or without brackets and a port; an IPv4-mapped one as IPv4."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit():
            return None
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)

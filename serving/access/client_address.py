"""What trusted proxies say about a request: the address of the client, and the URL that it used.

Proxies send `X-Forwarded-For`, `-Host`, `-Proto` and `-Prefix`, or `Forwarded` (RFC 7239). Each adds to the lists that
it received, so that only the last entries, one for each trusted proxy, are not the client's own. `Forwarded` counts
only without any `X-Forwarded-*`: a proxy of the older form passes it on as the client sent it.

uvicorn's ProxyHeadersMiddleware answers the same question, but compares an IPv4-mapped peer (`::ffff:10.0.0.1`) as
IPv6, returns an entry that is not an address, and also replaces the scheme of the scope.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from starlette.types import Scope

from serving.context import DIRECT, PublicUrl
from serving.header_fields import elements, parameters

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UNKNOWN = "unknown"
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")
# Of the WebSocket protocol, and of HTTP.
_SCHEMES: Final = {"ws": "http", "wss": "https", "http": "http", "https": "https"}


def trusted_networks(networks: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks of trusted proxies in the notation of the settings. Raises ValueError."""
    return tuple(ipaddress.ip_network(each, strict=False) for each in networks)


def client_address(scope: Scope, trusted: Sequence[Network]) -> str:
    """Return the last forwarded address that is not in `trusted`, or UNKNOWN without an address.

    Entries before that one come from the client and are ignored. An IPv6 address counts as its /64, the range that one
    host has.
    """
    address, _ = _client(scope, trusted)
    if address is None:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


def forwarded_url(scope: Scope, trusted: Sequence[Network]) -> PublicUrl:
    """Return the public URL that trusted proxies forward, or DIRECT without one, or with one that is not valid."""
    _, proxies = _client(scope, trusted)
    if not proxies:
        return DIRECT
    host, scheme, prefix = (
        _entry(_values(scope, name), proxies)
        for name in (b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix")
    )
    if not _has_older_form(scope):
        _, element = parameters(f"forwarded;{_entry(_values(scope, b'forwarded'), proxies)}")
        host, scheme = element.get("host", ""), element.get("proto", "")
    url = url_of(scope, host=host, scheme=scheme)
    prefix = prefix.rstrip("/")
    return PublicUrl(url, prefix) if url and _PREFIX.fullmatch(prefix) else DIRECT


def url_of(scope: Scope, *, host: str = "", scheme: str = "") -> str:
    """Return scheme and host of a request, where they are not given otherwise; empty if one is not valid."""
    host = host or next(iter(_values(scope, b"host")), "")
    known = _SCHEMES.get((scheme or scope.get("scheme", "http")).lower())
    return f"{known}://{host}" if known and _HOST.fullmatch(host) else ""


def _client(scope: Scope, trusted: Sequence[Network]) -> tuple[Address | None, int]:
    """Return the address of the client, and the number of trusted proxies between it and this service."""
    peer = scope.get("client")
    address = _parse(peer[0]) if peer else None
    if not trusted or address is None or not _is_in(address, trusted):
        return address, 0
    proxies = 1
    for entry in reversed([*_forwarded_for(scope)]):
        hop = _parse(entry)
        if hop is None:
            break
        address = hop
        if not _is_in(hop, trusted):
            break
        proxies += 1
    return address, proxies


def _forwarded_for(scope: Scope) -> Iterator[str]:
    if _has_older_form(scope):
        yield from elements(_values(scope, b"x-forwarded-for"))
        return
    for element in elements(_values(scope, b"forwarded")):
        _, pairs = parameters(f"forwarded;{element}")
        yield pairs.get("for", "")


def _has_older_form(scope: Scope) -> bool:
    return any(name.startswith(b"x-forwarded-") for name, _ in scope["headers"])


def _values(scope: Scope, header: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == header]


def _entry(values: Iterable[str], proxies: int) -> str:
    """Return the entry of the trusted proxy that is next to the client. A proxy may also replace the whole list."""
    entries = [*elements(values)]
    return entries[-min(proxies, len(entries))] if entries else ""


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

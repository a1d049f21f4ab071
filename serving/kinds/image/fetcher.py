"""Fetch images by URL, from public addresses only.

Every address that a name resolves to is checked, and the connection goes to a checked address, so that a name that
resolves differently the second time (DNS rebinding) reaches nothing else. Each redirect is checked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from models.errors import InputError, InputTooLarge, InvalidInput, is_exhausted
from serving.kinds.image.settings import ImageSettings
from serving.shared_limit import SharedLimit, SharedThreads

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

MAX_REDIRECTS = 3
MAX_URL_CHARACTERS = 2048
MAX_FETCHES = 16
# A look-up cannot be cancelled: it holds its thread until the name server answers, or for 30 s.
LOOKUP_THREADS = 8
_WHERE = ("body", "url")
_PORTS = (80, 443)
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Global addresses that serve instance metadata inside a cloud.
_METADATA = (ipaddress.IPv4Network("168.63.129.16/32"), ipaddress.IPv4Network("192.0.0.0/24"))
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))


def is_public(address: _Address) -> bool:
    """Return whether `address` is public: not private, loopback, link-local, metadata or multicast."""
    if isinstance(address, ipaddress.IPv6Address):
        # An address that embeds an IPv4 address is as public as that one.
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or any(address in network for network in _NAT64):
            return False
    if any(address in network for network in _METADATA):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class ImageFetcher:
    """Fetches images from the configured hosts. Addresses in `networks` are allowed although they are not public.

    A host is a name, `.example.com` for everything below it, or `*`.
    """

    def __init__(
        self, hosts: Sequence[str], *, networks: Sequence[str] = (), timeout_s: float = 5.0, max_bytes: int
    ) -> None:
        self._hosts = tuple(host.lower() for host in hosts)
        self._networks: tuple[_Network, ...] = tuple(ipaddress.ip_network(each) for each in networks)
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self.fetches = SharedLimit(MAX_FETCHES, name="fetches of images")
        self.lookups = SharedThreads(LOOKUP_THREADS, name="look-ups of names")

    @classmethod
    def of(cls, settings: ImageSettings) -> ImageFetcher | None:
        """Return the fetcher of the settings; None when images are not fetched."""
        if not settings.image_url_hosts:
            return None
        return cls(
            settings.image_url_hosts,
            networks=settings.image_url_networks,
            timeout_s=settings.image_url_timeout_s,
            max_bytes=settings.max_body_bytes,
        )

    async def fetch(self, url: str) -> bytes:
        """Return the bytes at `url`. Raises InvalidInput, InputTooLarge, LimitReached, CallerLimitReached."""
        import aiohttp

        try:
            with self.fetches.hold():
                async with asyncio.timeout(self._timeout_s):
                    return await self._follow(url)
        except (TimeoutError, aiohttp.ServerTimeoutError) as error:
            raise _fault(f"there was no complete response within {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if is_exhausted(error):
                raise
            raise _fault("the address did not answer as a web server") from error

    async def _follow(self, url: str) -> bytes:
        import aiohttp

        connector = aiohttp.TCPConnector(
            resolver=_checked_resolver(self), socket_factory=self._open, use_dns_cache=False, force_close=True
        )
        headers = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "makunouchi"}
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, headers=headers
        ) as session:
            target = _parsed(url)
            for _ in range(1 + MAX_REDIRECTS):
                self._check_url(target)
                async with session.get(target, allow_redirects=False) as response:
                    if response.status not in (301, 302, 303, 307, 308):
                        return await self._read(response)
                    target = target.join(_parsed(response.headers.get("Location", "")))
        raise _fault(f"there are more than {MAX_REDIRECTS} redirects")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise _fault(f"the response has the status {response.status}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _fault("the response is compressed")
        body = bytearray()
        if (response.content_length or 0) <= self._max_bytes:
            async for chunk in response.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > self._max_bytes:
                    break
            else:
                return bytes(body)
        raise InputTooLarge(f"the image has more than the {self._max_bytes} bytes that are accepted", location=_WHERE)

    def _check_url(self, url: URL) -> None:
        if url.scheme not in ("http", "https") or not url.host:
            raise _fault("only http:// and https:// are fetched")
        if url.user is not None or url.password is not None:
            raise _fault("an address with a user or a password is not fetched")
        host = url.host.rstrip(".").lower()
        if not any(_names(allowed, host) for allowed in self._hosts):
            raise _fault("images are not fetched from this host")
        if not self._networks:
            _check_port(url.port)
        # An address in digits is not resolved, so the resolver does not check it.
        with contextlib.suppress(ValueError):
            self.check(ipaddress.ip_address(host), url.port)

    def _open(self, info: aiohttp.AddrInfoType) -> socket.socket:
        # aiohttp opens every connection here, with its address.
        family, kind, protocol, _, address = info
        self.check(ipaddress.ip_address(str(address[0]).partition("%")[0]), int(address[1]))
        return socket.socket(family, kind, protocol)

    def check(self, address: _Address, port: int | None) -> None:
        """Raise InvalidInput unless the fetcher may connect to `address`; in a configured network, at any port."""
        if self._is_allowed(address):
            return
        if not is_public(address):
            raise _fault("the address is not a public one")
        _check_port(port)

    def _is_allowed(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def _names(allowed: str, host: str) -> bool:
    return allowed == "*" or host == allowed or (allowed.startswith(".") and host.endswith(allowed))


def _check_port(port: int | None) -> None:
    if port not in _PORTS:
        raise _fault("only the ports 80 and 443 are fetched from")


def _parsed(url: str) -> URL:
    """Parse `url` as the connection does: checks with another parser could be bypassed."""
    from yarl import URL

    try:
        if len(url) > MAX_URL_CHARACTERS:
            raise ValueError("too long")
        return URL(url)
    except ValueError as error:
        raise _fault("it is not a URL") from error


def _fault(message: str) -> InputError:
    return InvalidInput(f"the image cannot be fetched: {message}", location=_WHERE)


def _checked_resolver(fetcher: ImageFetcher) -> aiohttp.abc.AbstractResolver:
    # Imported here: aiohttp is loaded only where images are fetched.
    from aiohttp.abc import AbstractResolver, ResolveResult
    from aiohttp.resolver import ThreadedResolver

    class Lookups:
        """The look-ups of an event loop, in threads that all callers share. The loop's own threads are few."""

        async def getaddrinfo(self, *args: Any, **options: Any) -> Any:  # Any: the signature of socket's function
            return await fetcher.lookups.run(partial(socket.getaddrinfo, *args, **options))

        async def getnameinfo(self, *args: Any) -> Any:  # Any: the signature of socket's function
            return await fetcher.lookups.run(partial(socket.getnameinfo, *args))

    lookups: Any = Lookups()  # Any: the two methods of an event loop that the resolver calls

    class Checked(AbstractResolver):
        """Resolves a name, and rejects it when the fetcher may not connect to one of its addresses."""

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            addresses = await ThreadedResolver(lookups).resolve(host, port, family)
            for each in addresses:
                fetcher.check(ipaddress.ip_address(each["host"].partition("%")[0]), each["port"])
            return addresses

        async def close(self) -> None:
            return

    return Checked()

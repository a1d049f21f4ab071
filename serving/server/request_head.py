"""The head of a request, its first line and headers: its size, its Host, and its offer of another protocol."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Final

Header = tuple[bytes, bytes]

MAX_HEAD_BYTES: Final = 64 << 10
# uri-host [ ":" port ], without the comma of merged headers (RFC 9110, 7.2, and RFC 3986, 3.2.2). It may be empty.
_HOST: Final = re.compile(rb"(?:(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
# The headers that offer another protocol.
_UPGRADE_HEADERS: Final = frozenset({b"upgrade", b"http2-settings", b"connection"})


class HeadSize:
    """The size of the head that is being read, as an upper bound: the parser does not report its position."""

    __slots__ = ("_first_bytes", "_head_bytes", "_read_bytes", "_starts_in_read", "is_reading")

    def __init__(self) -> None:
        # Whether a head has begun and is not complete.
        self.is_reading = False
        # Whether it began in the bytes that are being parsed.
        self._starts_in_read = False
        self._read_bytes = 0
        # The bytes of the read in which the head began, and of complete reads since.
        self._first_bytes = 0
        self._head_bytes = 0

    def start_read(self, read_bytes: int) -> None:
        """Note the size of the bytes that are parsed next."""
        self._read_bytes = read_bytes
        self._starts_in_read = False

    def start_head(self) -> None:
        """Note the beginning of a head in the current read."""
        self.is_reading = self._starts_in_read = True
        self._first_bytes = self._read_bytes
        self._head_bytes = 0

    def end_read(self) -> bool:
        """Add the current read to an incomplete head, and return whether the head is too large."""
        if self.is_reading and not self._starts_in_read:
            self._head_bytes += self._read_bytes
        return self.is_reading and self._head_bytes > MAX_HEAD_BYTES

    def is_too_large(self, url: bytes, headers: Iterable[Header]) -> bool:
        """Return whether a complete head is too large.

        Its exact size is computed only if the bound is over the limit.
        """
        if self._first_bytes + self._head_bytes + self._read_bytes <= MAX_HEAD_BYTES:
            return False
        return len(url) + sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEAD_BYTES


class DiscardedHeaders(list[Header]):
    """A list that stays empty, for the trailers of a request."""

    def append(self, header: Header, /) -> None:
        """Discard `header`."""


def has_valid_host(headers: Iterable[Header], version: str) -> bool:
    """Return whether a request has one valid Host header. HTTP/1.0 requires none."""
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1:
        return not hosts and version == "1.0"
    return is_host(hosts[0])


@functools.lru_cache(maxsize=64)
def is_host(value: bytes) -> bool:
    """Return whether `value` is valid as the value of a Host header."""
    return _HOST.fullmatch(value) is not None


def head_without_upgrade(method: bytes, url: bytes, version: str, headers: Sequence[Header]) -> bytes:
    """Return the head as bytes, without its offer of another protocol.

    Of `Connection` only `close` and `keep-alive` remain.
    """
    remaining = [header for header in headers if header[0] not in _UPGRADE_HEADERS]
    tokens = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    remaining += [(b"connection", token) for token in (b"close", b"keep-alive") if token in tokens]
    lines = b"".join([b"%b: %b\r\n" % header for header in remaining])
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, url, version.encode(), lines)

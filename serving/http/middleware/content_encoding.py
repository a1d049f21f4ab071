"""Decode request bodies with a Content-Encoding (RFC 9110, 8.4): gzip and deflate.

A body is decoded in small pieces, with a turn for other requests between them, and only when the application reads it.
The size limit of bodies applies to what is decoded: see `stack`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import UnsupportedMedia
from serving.errors.exceptions import Malformed
from serving.errors.problem_types import UNSUPPORTED
from serving.header_fields import elements
from serving.http.problem_details import problem

ACCEPTED: Final = "gzip, deflate"
# About 1 ms of decompression.
PIECE_BYTES: Final = 256 << 10
_GZIP: Final = 16 + zlib.MAX_WBITS
_GZIP_NAMES: Final = frozenset({"gzip", "x-gzip"})
_DROPPED: Final = frozenset({b"content-encoding", b"content-length"})
# A gzip file may have several members. Each costs time, whatever it holds: more need to hold at least 1 KiB on average.
_FREE_MEMBERS: Final = 64


class DecodeBodies:
    """Middleware that calls `decoded` with the decoded body of a request that has a Content-Encoding, else `app`.

    An unknown encoding is 415 with `Accept-Encoding` (RFC 9110, 15.5.16).
    """

    def __init__(self, app: ASGIApp, decoded: ASGIApp) -> None:
        self._app = app
        self._decoded = decoded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        coding = _coding_of(scope) if scope["type"] == "http" else ""
        if not coding:
            await self._app(scope, receive, send)
            return
        try:
            decoder = Decoder(coding)
        except UnsupportedMedia as error:
            response = problem(UNSUPPORTED, str(error), instance=scope["path"], headers={"Accept-Encoding": ACCEPTED})
            await response(scope, receive, send)
            return
        # In place: outer middleware reads the matched route from the same scope.
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in _DROPPED]
        await self._decoded(scope, _DecodedBody(receive, decoder).receive, send)


def _coding_of(scope: Scope) -> str:
    """Return the encoding of the body; an empty text for none, and for no body."""
    codings = [value for name, value in scope["headers"] if name == b"content-encoding"]
    if not codings or any(name == b"content-length" and value == b"0" for name, value in scope["headers"]):
        return ""
    names = elements(value.decode("latin-1").lower() for value in codings)
    return ", ".join(name for name in names if name != "identity")


class Decoder:
    """Decodes one body, fed in chunks of any size. Raises UnsupportedMedia for an unknown `coding`."""

    def __init__(self, coding: str) -> None:
        if coding not in _GZIP_NAMES and coding != "deflate":
            message = f"the Content-Encoding '{coding[:100]}' is not supported; send one of {ACCEPTED}, or none"
            raise UnsupportedMedia(message)
        self._coding = coding
        self._is_gzip = coding in _GZIP_NAMES
        self._start = b""
        self._stream: zlib._Decompress | None = None
        self._members = 0
        self._decoded_bytes = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the content of the next chunk in pieces of at most PIECE_BYTES. Raises Malformed."""
        data = self._start + chunk
        self._start = b""
        is_full = False
        while data or is_full:
            stream = self._stream
            if stream is None or stream.eof:
                # The first two bytes tell zlib's format from raw deflate.
                if len(data) < 2 and not self._is_gzip and not self._members:
                    self._start = data
                    return
                stream = self._stream = self._opened(data)
            try:
                piece = stream.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise Malformed(f"the body is not in the Content-Encoding {self._coding}") from error
            yield piece
            self._decoded_bytes += len(piece)
            # The decoder may hold more than the size that the call allowed.
            is_full = len(piece) == PIECE_BYTES and not stream.eof
            data = stream.unused_data if stream.eof else stream.unconsumed_tail

    def close(self) -> None:
        """Raise Malformed unless the body is complete. An empty body is."""
        if self._start or (self._stream is not None and not self._stream.eof):
            raise Malformed(f"the body ends before the end of its Content-Encoding {self._coding}")

    def _opened(self, data: bytes) -> zlib._Decompress:
        is_more = self._members > 0
        if is_more and (not self._is_gzip or self._members > _FREE_MEMBERS + (self._decoded_bytes >> 10)):
            raise Malformed(f"the body goes on after the end of its Content-Encoding {self._coding}")
        self._members += 1
        if self._is_gzip:
            return zlib.decompressobj(_GZIP)
        # RFC 9110, 8.4.1.2: zlib's format (RFC 1950); some clients send deflate without it.
        is_zlib = data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0
        return zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)


class _DecodedBody:
    """The messages of a request with the decoded body."""

    def __init__(self, receive: Receive, decoder: Decoder) -> None:
        self._receive = receive
        self._decoder = decoder
        self._pieces: Iterator[bytes] = iter(())
        self._more_body = True

    async def receive(self) -> Message:
        while True:
            piece = next(self._pieces, None)
            if piece is not None:
                await asyncio.sleep(0)
                if piece:
                    return {"type": "http.request", "body": piece, "more_body": True}
                continue
            if not self._more_body:
                self._decoder.close()
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._more_body = message.get("more_body", False)
            self._pieces = self._decoder.feed(message.get("body", b""))

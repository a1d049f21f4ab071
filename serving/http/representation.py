"""Representations that are kept in memory: their bytes, compressed bytes and entity tag (RFC 9110, 3.2).

Creating one takes long: compressing 1 MB takes 30 ms of processor time. Do it in a thread, and once.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from serving.errors.exceptions import PreconditionFailed
from serving.header_fields import elements, entity_tags, weights

# Smaller bodies are not compressed.
MINIMUM_BYTES = 1000
# Level 9 takes three times as long and saves 1 % of the pages' scripts.
LEVEL = 5
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Representation:
    """A body and the same compressed by gzip; `compressed` is empty if that is not shorter."""

    body: bytes
    compressed: bytes
    etag: str
    media_type: str

    @classmethod
    def of(cls, body: bytes, media_type: str) -> Representation:
        """Return the representation of `body`. Takes long."""
        return RepresentationStart(body, media_type).ended(b"")

    def response(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Return a response 200, compressed if the client accepts it, or 304 if the client has this content."""
        check_if_match(request)
        response = Response(status_code=304)
        if not is_known(request, self.etag):
            is_compressed = self.compressed and accepts_gzip(request.headers.getlist("accept-encoding"))
            response = Response(self.compressed if is_compressed else self.body, media_type=self.media_type)
            if is_compressed:
                response.headers["Content-Encoding"] = "gzip"
        response.headers.update({"ETag": self.etag, **headers})
        response.headers.add_vary_header("Accept-Encoding")
        return response


class RepresentationStart:
    """The start of representations that differ only in their end. Creating one takes long, `ended` does not."""

    def __init__(self, start: bytes, media_type: str) -> None:
        self._start = start
        self._media_type = media_type
        self._digest = hashlib.sha256(start)
        self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
        self._compressed = self._compressor.compress(start) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def ended(self, end: bytes) -> Representation:
        """Return the representation of the start and `end`."""
        digest, compressor = self._digest.copy(), self._compressor.copy()
        digest.update(end)
        body = self._start + end
        compressed = self._compressed + compressor.compress(end) + compressor.flush()
        is_shorter = len(body) >= MINIMUM_BYTES and len(compressed) < len(body)
        return Representation(body, compressed if is_shorter else b"", weak_etag(digest.digest()), self._media_type)


def weak_etag(digest: bytes) -> str:
    """Return an entity tag. It is weak, because the bytes on the wire may be compressed."""
    return f'W/"{digest.hex()[:32]}"'


def is_known(request: Request, etag: str) -> bool:
    """Return whether the client has the content with this entity tag (RFC 9110, 13.1.2)."""
    values = request.headers.getlist("if-none-match")
    return [*elements(values)] == ["*"] or etag.removeprefix("W/") in entity_tags(values)


def check_if_match(request: Request) -> None:
    """Raise PreconditionFailed if the request has an `If-Match` with entity tags (RFC 9110, 13.1.1)."""
    values = request.headers.getlist("if-match")
    if values and [*elements(values)] != ["*"]:
        raise PreconditionFailed(
            "If-Match matches strong entity tags only, and this resource has none; send no If-Match"
        )


def accepts_gzip(values: Sequence[str]) -> bool:
    """Return whether a client accepts gzip, and does not prefer the plain bytes (RFC 9110, 12.5.3).

    `values` are those of the lines of its Accept-Encoding.
    """
    given = weights(values)
    gzip = given.get("gzip", given.get("x-gzip", given.get("*", 0.0)))
    return gzip > 0 and gzip >= given.get("identity", 0.0)

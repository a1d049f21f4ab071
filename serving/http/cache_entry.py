"""Entries of the response cache: one line of JSON with the headers of a response, then its body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

# Headers that are stored with a response.
_STORED_HEADERS = ("API-Version", "Deprecation", "Link", "Sunset", "Vary")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{1,2000}")
_NO_HEADERS: Mapping[str, str] = {}


def packed(body: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> bytes:
    """Return a response as a cache entry."""
    return orjson.dumps({name: headers[name] for name in _STORED_HEADERS if name in headers}) + b"\n" + body


def unpacked(entry: bytes) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a cache entry."""
    headers, _, body = entry.partition(b"\n")
    return orjson.loads(headers), body


def body_of(entry: bytes) -> bytes | None:
    """Return the body of a cache entry, or None if the entry has headers."""
    headers, _, body = entry.partition(b"\n")
    return body if headers == b"{}" else None


def version_of(body: bytes) -> str | None:
    """Return the model version that a response body names."""
    try:
        return str(orjson.loads(body)["model"]["version"])
    except (ValueError, KeyError, TypeError):
        return None


def has_valid_form(key: str, entry: bytes) -> bool:
    """Return whether `entry` can be a response that this service stored under `key`.

    It has only headers that are stored, and a body of the version in the key.
    """
    try:
        headers, body = unpacked(entry)
    except ValueError:
        return False
    if not isinstance(headers, dict) or not all(_is_header(name, value) for name, value in headers.items()):
        return False
    return version_of(body) == key.rsplit(":", 2)[-2:][0]


def _is_header(name: str, value: Any) -> bool:  # Any: JSON
    return name in _STORED_HEADERS and isinstance(value, str) and bool(_HEADER_VALUE.fullmatch(value))

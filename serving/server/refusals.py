"""Responses of the HTTP protocol to requests that it refuses to read."""

from __future__ import annotations

import contextvars
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, NamedTuple

from serving.context import set_request_id
from serving.errors.problem_types import HEAD_TIMEOUT, HEAD_TOO_LARGE, INTERNAL, NOT_HTTP, ProblemType
from serving.http.middleware.request_id import HEADER
from serving.http.problem_details import problem
from serving.server.request_head import MAX_HEAD_BYTES


class Refusal(NamedTuple):
    """The reason why a connection is not read any further."""

    problem_type: ProblemType
    detail: str


INVALID_HTTP: Final = Refusal(NOT_HTTP, "the bytes are not valid HTTP/1.1; the connection is closed")
OTHER_VERSION: Final = Refusal(NOT_HTTP, "the version of the request is neither HTTP/1.1 nor HTTP/1.0")
INVALID_HOST: Final = Refusal(NOT_HTTP, "a request has exactly one Host header, with a valid host and port")
INVALID_HANDSHAKE: Final = Refusal(NOT_HTTP, "a WebSocket handshake is a GET with short headers and without a body")
EARLY_HANDSHAKE: Final = Refusal(NOT_HTTP, "a WebSocket handshake must not follow a request without a response yet")
FAULT: Final = Refusal(INTERNAL, INTERNAL.description)
LARGE_HEAD: Final = Refusal(HEAD_TOO_LARGE, f"the headers are larger than {MAX_HEAD_BYTES} bytes")


def late_head(timeout_s: float) -> Refusal:
    """Return the refusal of a head that did not arrive within `timeout_s`."""
    return Refusal(HEAD_TIMEOUT, f"the headers were not complete after {timeout_s:g} s")


def encode_refusal(refusal: Refusal, request_id: str, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the complete HTTP/1.1 response with a problem document."""
    # In a copy of the context, because the caller is not a task.
    return contextvars.copy_context().run(_encode, refusal, request_id, default_headers)


def _encode(refusal: Refusal, request_id: str, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    set_request_id(request_id)
    status = refusal.problem_type.status
    response = problem(refusal.problem_type, refusal.detail, instance="/")
    headers = [
        *default_headers,
        *response.raw_headers,
        (b"x-process-time", b"0.00"),
        (HEADER, request_id.encode()),
        (b"connection", b"close"),
    ]
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, HTTPStatus(status).phrase.encode(), lines, bytes(response.body))

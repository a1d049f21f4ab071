"""One HTTP request of the benchmark: its bytes, and the check of its response."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Any: the result type depends on the scenario: a number, probabilities, a class id, item ids.
Decoder = Callable[[bytes], Any]
Comparison = Callable[[Any, Any], bool]

_TIMEOUT_S = 30.0
# A server that listens and still rejects the first request after this time will not accept it later.
_REJECTED_S = 20.0


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A POST request. `decode` returns the result in a response; `expected` is None if no result is known.

    `accepts(result, expected)` is true if both are equal within the tolerance of the scenario.
    """

    path: str
    content_type: str
    body: bytes
    decode: Decoder
    accepts: Comparison
    expected: Any = None

    def encoded(self, host: str = "127.0.0.1") -> bytes:
        """Return the request as HTTP/1.1 bytes for a persistent connection."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\nAccept: application/json\r\n\r\n"
        )
        return head.encode() + self.body


class UnexpectedStatus(Exception):
    """A response whose status is not 2xx."""


def send(port: int, request: HttpRequest, *, timeout_s: float = _TIMEOUT_S) -> bytes:
    """Send a request over a new connection and return the body of the response.

    Raises UnexpectedStatus; OSError or http.client.HTTPException if the transport fails.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        headers = {"Content-Type": request.content_type, "Accept": "application/json"}
        connection.request("POST", request.path, request.body, headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if not 200 <= response.status < 300:
        raise UnexpectedStatus(f"{response.status}: {body[:300].decode('utf-8', 'replace')}")
    return body


def wait_until_ready(port: int, request: HttpRequest, *, timeout_s: float, is_alive: Callable[[], bool]) -> None:
    """Send a request every 50 ms until its response can be decoded.

    Raises TimeoutError with the last error, before `timeout_s` if the server exits or rejects the request for 20 s.
    """
    started = rejected_since = time.monotonic()
    last_error = "no response"
    while (now := time.monotonic()) < started + timeout_s and now < rejected_since + _REJECTED_S and is_alive():
        try:
            request.decode(send(port, request, timeout_s=max(0.1, started + timeout_s - now)))
            return
        except UnexpectedStatus as error:
            last_error = str(error)
            if last_error.startswith("503"):
                rejected_since = time.monotonic()
        except (OSError, http.client.HTTPException, LookupError, TypeError, ValueError) as error:
            last_error = f"{type(error).__name__}: {error}"
            rejected_since = time.monotonic()
        time.sleep(0.05)
    raise TimeoutError(f"not ready: {last_error}" if is_alive() else f"the server exited; last error: {last_error}")

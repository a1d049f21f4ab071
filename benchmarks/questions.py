"""One request as bytes, and how its answer is read and judged. Knows HTTP and JSON, no server."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Any: whatever a scenario compares: a number, probabilities, a label, ids.
Read = Callable[[bytes], Any]
Judge = Callable[[Any, Any], bool]

_TIMEOUT_S = 30.0
# A server that is up and goes on refusing the very first question is not about to accept it.
_REFUSED_S = 20.0


@dataclass(frozen=True, slots=True)
class Question:
    """One POST. `read` takes from the response what is compared; `expected` is the right one, None if not known.

    `accepts` tells whether what was read is as good as expected.
    """

    path: str
    content_type: str
    body: bytes
    read: Read
    accepts: Judge
    expected: Any = None

    def encoded(self, host: str = "127.0.0.1") -> bytes:
        """The whole request as it goes over the wire, on a connection that is kept."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\nAccept: application/json\r\n\r\n"
        )
        return head.encode() + self.body


class WrongStatus(Exception):
    """A response whose status is not 2xx."""


def ask(port: int, question: Question, *, timeout_s: float = _TIMEOUT_S) -> bytes:
    """Send one question over a connection of its own; the response's body.

    Raises WrongStatus, or OSError and http.client.HTTPException for a transport that failed.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        headers = {"Content-Type": question.content_type, "Accept": "application/json"}
        connection.request("POST", question.path, question.body, headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if not 200 <= response.status < 300:
        raise WrongStatus(f"{response.status}: {body[:300].decode('utf-8', 'replace')}")
    return body


def ask_until_right(port: int, question: Question, *, timeout_s: float, alive: Callable[[], bool]) -> None:
    """Ask every 50 ms until the answer can be read.

    Raises TimeoutError with the last fault, early when the server is not `alive` or refuses for many seconds.
    """
    began = refused_since = time.monotonic()
    fault = "no answer"
    while (now := time.monotonic()) < began + timeout_s and now < refused_since + _REFUSED_S and alive():
        try:
            question.read(ask(port, question, timeout_s=max(0.1, began + timeout_s - now)))
            return
        except WrongStatus as error:
            fault = str(error)
            if fault.startswith("503"):
                refused_since = time.monotonic()
        except (OSError, http.client.HTTPException, LookupError, TypeError, ValueError) as error:
            fault = f"{type(error).__name__}: {error}"
            refused_since = time.monotonic()
        time.sleep(0.05)
    raise TimeoutError(f"not ready: {fault}" if alive() else f"it ended by itself; last: {fault}")

"""Validation of responses under load: samples are compared with the expected results.

A load generator checks only the status. A batching server that returns the result of another request answers with 200;
only this comparison detects it.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from benchmarks.http_request import HttpRequest, UnexpectedStatus, send

_INTERVAL_S = 0.1
_TIMEOUT_S = 15.0
_MAX_ERRORS = 3


@dataclass(slots=True)
class Samples:
    """Number of samples, of wrong results and of failed requests, and the first error messages."""

    sent: int = 0
    wrong: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    def add_error(self, message: str) -> None:
        if len(self.errors) < _MAX_ERRORS:
            self.errors.append(message)


class ResponseSampler:
    """A context manager that sends ten requests per second from a thread and validates the responses."""

    def __init__(self, port: int, requests: Sequence[HttpRequest], *, interval_s: float = _INTERVAL_S) -> None:
        self.samples = Samples()
        self._port = port
        self._requests = requests
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="response-sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(_TIMEOUT_S * 2)

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(self._interval_s):
            validate(self._port, self._requests[number % len(self._requests)], self.samples)
            number += 1


def validate(port: int, request: HttpRequest, samples: Samples) -> None:
    """Send one request and add the outcome to `samples`."""
    samples.sent += 1
    started = time.monotonic()
    try:
        result = request.decode(send(port, request, timeout_s=_TIMEOUT_S))
    except (UnexpectedStatus, OSError, http.client.HTTPException) as error:
        samples.failed += 1
        samples.add_error(f"{type(error).__name__} after {time.monotonic() - started:.1f} s: {error}")
    except (LookupError, TypeError, ValueError) as error:
        samples.wrong += 1
        samples.add_error(f"cannot decode the response: {type(error).__name__}: {error}")
    else:
        if request.expected is not None and not request.accepts(result, request.expected):
            samples.wrong += 1
            samples.add_error(f"{str(result)[:120]} instead of {str(request.expected)[:120]}")

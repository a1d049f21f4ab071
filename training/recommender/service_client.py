"""A running service as a training script asks it: JSON over HTTP, told to wait it waits. Knows no model."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from models.errors import DataInvalid

_TIMEOUT_S = 60.0
_TRIES = 8
_MAX_WAIT_S = 30.0
# Too many requests, or a runner that comes back: both say when to ask again.
_AGAIN = (429, 503)

Json = dict[str, Any]  # Any: JSON


class ServiceClient:
    """Asks one service. The variable API_KEY goes along where it is set. Raises DataInvalid for what goes wrong."""

    def __init__(self, url: str) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise DataInvalid(f"'{url}' is no address of a service; it begins with http:// or https://")
        self._url = url.rstrip("/")

    def get(self, path: str) -> Json:
        return self._ask(path, None)

    def bulk(self, body: Json) -> Json:
        """Recommendations for several users."""
        return self._ask("/v1/recommendations/bulk", json.dumps(body).encode())

    def _ask(self, path: str, body: bytes | None) -> Json:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key := os.environ.get("API_KEY"):
            headers["X-API-Key"] = key
        request = urllib.request.Request(self._url + path, data=body, headers=headers)  # noqa: S310  (checked above)
        for last in range(_TRIES):
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
                    found: Json = json.load(response)
                    return found
            except urllib.error.HTTPError as error:
                with error:  # it holds the connection
                    if error.code not in _AGAIN or last == _TRIES - 1:
                        raise DataInvalid(f"{path} is answered {error.code}: {_detail(error)}") from error
                time.sleep(min(_MAX_WAIT_S, _seconds(error.headers.get("Retry-After"))))
            except (OSError, ValueError) as error:
                raise DataInvalid(f"no answer from {self._url}: {error}") from error
        raise AssertionError("unreachable: the last try returns or raises")


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 1.0


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)

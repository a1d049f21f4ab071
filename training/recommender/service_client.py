"""HTTP client of a running service: JSON requests, repeated when the service says Retry-After."""

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
_ATTEMPTS = 8
_MAX_WAIT_S = 30.0
# Too many requests, and a runner that restarts.
_RETRIED = (429, 503)

Json = dict[str, Any]  # Any: JSON


class ServiceClient:
    """A client of one service. It sends the key in the variable API_KEY. Failures raise DataInvalid."""

    def __init__(self, url: str) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise DataInvalid(f"'{url}' is no address of a service; it must begin with http:// or https://")
        self._url = url.rstrip("/")

    def get(self, path: str) -> Json:
        """Return the JSON at `path`."""
        return self._request(path, None)

    def bulk(self, body: Json) -> Json:
        """Return recommendations for several users."""
        return self._request("/v1/recommendations/bulk", json.dumps(body).encode())

    def _request(self, path: str, body: bytes | None) -> Json:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key := os.environ.get("API_KEY"):
            headers["X-API-Key"] = key
        request = urllib.request.Request(self._url + path, data=body, headers=headers)  # noqa: S310  (checked above)
        for attempt in range(_ATTEMPTS):
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
                    body_json: Json = json.load(response)
                    return body_json
            except urllib.error.HTTPError as error:
                with error:  # closes the connection
                    if error.code not in _RETRIED or attempt == _ATTEMPTS - 1:
                        raise DataInvalid(f"{path} returned {error.code}: {_detail(error)}") from error
                time.sleep(min(_MAX_WAIT_S, _seconds(error.headers.get("Retry-After"))))
            except (OSError, ValueError) as error:
                raise DataInvalid(f"no answer from {self._url}: {error}") from error
        raise AssertionError("unreachable: the last attempt returns or raises")


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 1.0


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)

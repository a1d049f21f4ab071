"""Headers of a response to a request that used a deprecated field (RFC 9745, RFC 8594)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from starlette.responses import Response

from serving.context import public_path

HEADERS: Final = ("Deprecation", "Sunset", "Link")


@dataclass(frozen=True, slots=True)
class Deprecation:
    """The start of a deprecation, the end of service, and the path of the successor."""

    since: datetime
    until: datetime
    successor: str

    def mark(self, response: Response) -> None:
        """Add the headers to `response`."""
        response.headers["Deprecation"] = f"@{int(self.since.timestamp())}"
        response.headers["Sunset"] = format_datetime(self.until, usegmt=True)
        response.headers["Link"] = (
            f'<{public_path(self.successor)}>; rel="successor-version", <{public_path("/redoc")}>; rel="deprecation"'
        )


# Version 2 has `min_confidence` instead of `threshold`, in line with `min_score` of recommendations.
THRESHOLD: Final = Deprecation(
    since=datetime(2026, 11, 21, tzinfo=UTC), until=datetime(2027, 11, 30, tzinfo=UTC), successor="/v2/images/classify"
)

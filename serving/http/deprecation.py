"""What goes with an answer to a request that used a deprecated field (RFC 9745, RFC 8594). Knows dates and headers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from starlette.responses import Response

HEADERS: Final = ("Deprecation", "Sunset", "Link")


@dataclass(frozen=True, slots=True)
class Deprecation:
    """Since when something is deprecated, until when it is served, and the path of what comes after it."""

    since: datetime
    until: datetime
    successor: str

    def mark(self, response: Response) -> None:
        """Say so in `response`."""
        response.headers["Deprecation"] = f"@{int(self.since.timestamp())}"
        response.headers["Sunset"] = format_datetime(self.until, usegmt=True)
        response.headers["Link"] = f'<{self.successor}>; rel="successor-version", </redoc>; rel="deprecation"'


# `threshold` is called `min_confidence` in version 2, as `min_score` is of recommendations.
THRESHOLD: Final = Deprecation(
    since=datetime(2026, 11, 21, tzinfo=UTC), until=datetime(2027, 11, 30, tzinfo=UTC), successor="/v2/images/classify"
)

"""What a workload is. Knows no server."""

from __future__ import annotations

from typing import Any, Protocol

Answer = dict[str, Any]  # Any: JSON


class Workload(Protocol):
    """One scenario's arithmetic. `item` and `answers` may run in different threads or processes."""

    def item(self, request: Any) -> Any:
        """What a batch is made of, from a request: decoded JSON, or the bytes of an image. Any: differs by scenario."""
        ...

    def answers(self, items: list[Any]) -> list[Answer]:
        """One JSON object per item, in order."""
        ...

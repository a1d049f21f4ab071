"""Interface of a workload."""

from __future__ import annotations

from typing import Any, Protocol

Result = dict[str, Any]  # Any: JSON


class Workload(Protocol):
    """The model of one scenario. `preprocess` and `predict` may run in different threads or processes."""

    def preprocess(self, request: Any) -> Any:
        """Convert a request (decoded JSON, or the bytes of an image) into a model input. Any: varies by scenario."""
        ...

    def predict(self, inputs: list[Any]) -> list[Result]:
        """Return one JSON object per input, in the order of the inputs."""
        ...

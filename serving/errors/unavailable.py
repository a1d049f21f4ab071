"""The error of a model whose runner cannot answer at the moment."""

from __future__ import annotations

from models.errors import RunnerUnavailable


def model_unavailable() -> RunnerUnavailable:
    """Return the error of a call whose runner is not connected, not ready or restarting."""
    return RunnerUnavailable("the model is not available")

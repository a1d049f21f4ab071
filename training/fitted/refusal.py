"""Refusals of models and data that cannot be saved, each with a way out."""

from __future__ import annotations

from models.errors import NotConvertible

WAY_OUT = "serve it as a class of your own, of the kind 'python': see docs/own-models.md"


def not_convertible(what: str, *, instead: str = "") -> NotConvertible:
    """Return the error for a model or a part of it, `what`, that no format without code can hold.

    `instead` is a change of the model that can be saved.
    """
    return NotConvertible(f"{what}: {instead}, or {WAY_OUT}" if instead else f"{what}; {WAY_OUT}")


def first_line(error: BaseException, *, characters: int = 200) -> str:
    """Return the first line of an error's message, cut."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip()[:characters].rstrip(".")

"""Refusals of models and data that cannot be saved, each with a way out."""

from __future__ import annotations

import re

from models.errors import NotConvertible

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
WAY_OUT = "serve it as your own class with the kind 'python': see docs/own-models.md"


def not_convertible(what: str, *, instead: str = "") -> NotConvertible:
    """Return the error for a model or a part of it, `what`, that no format without code can hold.

    `instead` is a change of the model that can be saved.
    """
    return NotConvertible(f"{what}: {instead}, or {WAY_OUT}" if instead else f"{what}; {WAY_OUT}")


def first_line(error: BaseException, *, characters: int = 200) -> str:
    """Return the first line of the message of an error's cause, cut and without the colours of terminals."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = _COLOUR.sub("", str(error)).strip().splitlines() or [type(error).__name__]
    return lines[0].strip()[:characters].rstrip(".")

"""A constant choice, for tests and measurements of one option."""

from __future__ import annotations

from models.adaptive_choice import AdaptiveChoice


class FixedChoice(AdaptiveChoice):
    """A choice that always returns the same option."""

    def __init__(self, option: int) -> None:
        super().__init__()
        self._option = option

    def choose(self) -> int:
        return self._option

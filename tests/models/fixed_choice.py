"""A choice between two ways that is made beforehand, for tests and measurements of one of them."""

from __future__ import annotations

from models.adaptive_choice import AdaptiveChoice


class Only(AdaptiveChoice):
    """Goes one way alone."""

    def __init__(self, way: int) -> None:
        super().__init__()
        self._way = way

    def choose(self) -> int:
        return self._way

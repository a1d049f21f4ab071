"""Decides when the reconciler acts on a difference: once it is confirmed, and after a failure with growing pauses."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Final

# Another gateway may have changed the runner and not yet written the state, or the last status may predate a change.
CONFIRMATIONS: Final = 2
FIRST_PAUSE_S: Final = 30.0
LONGEST_PAUSE_S: Final = 900.0


class Attempts:
    """Attempts to bring one thing, such as the default version of one model, to its target.

    A difference counts once it was seen `confirmations` times. The pauses after failures grow from `first_pause_s` to
    `longest_pause_s`.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        confirmations: int = CONFIRMATIONS,
        first_pause_s: float = FIRST_PAUSE_S,
        longest_pause_s: float = LONGEST_PAUSE_S,
    ) -> None:
        self._clock = clock
        self._confirmations = confirmations
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._target: Hashable = None
        self._seen = 0
        self._pause_s = 0.0
        self._next = 0.0
        self.error = ""

    @property
    def is_unconfirmed(self) -> bool:
        """Whether a difference was seen that the next pass has to confirm."""
        return 0 < self._seen < self._confirmations

    def is_due(self, target: Hashable) -> bool:
        """Note that the actual state differs from `target`, and return whether to act on it now."""
        if target != self._target:
            self.settle()
            self._target = target
        self._seen += 1
        return self._seen >= self._confirmations and self._clock() >= self._next

    def fail(self, error: Exception) -> bool:
        """Note that acting failed, and return whether it is the first failure for this target."""
        is_first = not self._pause_s
        self.error = str(error) or type(error).__name__
        self._pause_s = min(2 * self._pause_s or self._first_pause_s, self._longest_pause_s)
        self._next = self._clock() + self._pause_s
        return is_first

    def settle(self) -> None:
        """Note that there is no difference."""
        self._target, self._seen, self._pause_s, self._next, self.error = None, 0, 0.0, 0.0, ""

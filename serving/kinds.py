"""A kind of problem: what a client is told by name and status. Knows no errors and no transport."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its stable name, its status, what it means.

    `retry_after_s` is sent as Retry-After. `fault_is_ours` hides the error's own message: it may name internals.
    """

    slug: str
    status: int
    title: str
    description: str
    retry_after_s: int | None = None
    fault_is_ours: bool = False

    @property
    def type(self) -> str:
        """The `type` of the problem document."""
        return f"/problems/{self.slug}"

"""The priority of a request, from its header and its credential.

`X-Priority: batch` lets a request wait for those of `interactive`, the default. A key that is bound to `batch` has no
other priority.
"""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from models.errors import InvalidInput
from serving.access.guard import caller_of
from serving.context import PRIORITIES, Priority, set_priority

HEADER: Final = "X-Priority"
_NAME: Final = HEADER.lower().encode()


def set_priority_of(scope: Scope) -> None:
    """Set the priority of an HTTP request or a WebSocket that the guard has admitted. Raises InvalidInput."""
    for name, value in scope["headers"]:
        if name == _NAME:
            set_requested_priority(scope, priority_named(value.decode("latin-1"), location=("header", HEADER)))
            return
    set_requested_priority(scope, "interactive")


def set_requested_priority(scope: Scope, priority: Priority) -> None:
    """Set the priority that a request asks for, as far as its credential allows it."""
    caller = caller_of(scope)
    set_priority("batch" if caller is not None and caller.is_batch else priority)


def priority_named(text: str, *, location: tuple[str | int, ...]) -> Priority:
    """Return the priority with a name, in any case. Raises InvalidInput with the known names."""
    for priority in PRIORITIES:
        if text.strip().lower() == priority:
            return priority
    raise InvalidInput(f"unknown priority '{text[:100]}'; known: {', '.join(PRIORITIES)}", location=location)

"""The id of the request being answered: the client's when it is sane, made otherwise. Knows no HTTP framework."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
_current: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """Id of the request that this task answers; empty outside of one."""
    return _current.get()


def set_request_id(request_id: str) -> None:
    """Make `request_id` the current one for this task and the tasks that it starts."""
    _current.set(request_id)


def accept_or_make(offered: bytes | None) -> str:
    """The client's id when it is 1..128 of `A-Za-z0-9._-`, else a new one of 32 hexadecimal digits."""
    if offered is not None:
        text = offered.decode("latin-1")
        if _SANE.match(text):
            return text
    return secrets.token_hex(16)

"""A serving process ends when the process that started it is gone: nobody would start it again, and it holds the port.

`bentoml serve` stops its processes when it is told to stop, and cannot when it is killed (SIGKILL, out of memory).
Knows process ids and a signal.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Final

log = logging.getLogger("makunouchi.parent")

# Inherited by the processes that are started. Where nobody set it nobody is watched: the parent may be any shell.
PARENT: Final = "SERVICE_PARENT"
_LOOK_S = 1.0


def name_parent() -> None:
    """Let the processes that this one starts from now on end when it is gone."""
    os.environ[PARENT] = str(os.getpid())


def end_with_parent(*, look_s: float = _LOOK_S, end: Callable[[], None] | None = None) -> threading.Thread | None:
    """Send this process SIGTERM once the process that started it is gone, at once when it is already.

    Looks every `look_s`, in a thread, None where there is nobody to watch. prctl(PR_SET_PDEATHSIG) would need no
    looking, but takes the end of the thread that started this process for the end of its parent.
    """
    parent = int(os.environ.get(PARENT, 0))
    if parent in (0, os.getpid()):
        return None
    end = end or (lambda: os.kill(os.getpid(), signal.SIGTERM))
    thread = threading.Thread(target=_watch, args=(parent, look_s, end), name="parent", daemon=True)
    thread.start()
    return thread


def _watch(parent: int, look_s: float, end: Callable[[], None]) -> None:
    forever = threading.Event()
    # Another parent takes an orphan in: process 1, or the nearest that asked for orphans.
    while os.getppid() == parent:
        forever.wait(look_s)
    log.warning("the process that started this one (%d) is gone: ending", parent)
    end()

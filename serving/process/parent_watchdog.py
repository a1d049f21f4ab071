"""A serving process ends when the process that started it is gone: nobody would start it again, and it holds the port.

`bentoml serve` stops its processes when it is told to stop, and removes their sockets; it can do neither when it is
killed (SIGKILL, out of memory). Knows process ids, a signal, and where BentoML keeps sockets.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

log = logging.getLogger("makunouchi.parent")

# Inherited by the processes that are started. Where nobody set it nobody is watched: the parent may be any shell.
PARENT: Final = "SERVICE_PARENT"
_LOOK_S = 1.0
# What BentoML calls the folder of one server's sockets.
_SOCKETS: Final = "bentoml-uds-"


def name_parent() -> None:
    """Let the processes that this one starts from now on end when it is gone."""
    os.environ[PARENT] = str(os.getpid())


def end_with_parent(*, look_s: float = _LOOK_S, end: Callable[[], None] | None = None) -> threading.Thread | None:
    """Send this process SIGTERM once the process that started it is gone, at once when it is already.

    Looks every `look_s`, in a thread, None where there is nobody to watch. prctl(PR_SET_PDEATHSIG) would need no
    looking, but takes the end of the thread that started this process for the end of its parent.
    """
    parent = _named()
    if parent is None:
        return None
    end = end or (lambda: os.kill(os.getpid(), signal.SIGTERM))
    thread = threading.Thread(target=_watch, args=(parent, look_s, end), name="parent", daemon=True)
    thread.start()
    return thread


def is_orphan() -> bool:
    """Whether the process that started this one was named, and is gone."""
    parent = _named()
    return parent is not None and os.getppid() != parent


def remove_sockets(own: str, addresses: Mapping[str, str]) -> None:
    """Remove the socket of the service `own`, and the folder of all of them once it is empty: by whoever ends last.

    `addresses` are those of the services of this server, by name, as BentoML gave them to this process; each server has
    a folder of its own.
    """
    for name, address in addresses.items():
        url = urlsplit(address)
        path = Path(unquote(url.path))
        if url.scheme != "file" or not path.parent.name.startswith(_SOCKETS):
            continue
        if name == own:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()


def _named() -> int | None:
    parent = int(os.environ.get(PARENT) or 0)
    return None if parent in (0, os.getpid()) else parent


def _watch(parent: int, look_s: float, end: Callable[[], None]) -> None:
    forever = threading.Event()
    # Another parent takes an orphan in: process 1, or the nearest that asked for orphans.
    while os.getppid() == parent:
        forever.wait(look_s)
    log.warning("the process that started this one (%d) is gone: ending", parent)
    end()

"""End a serving process when its parent has died: it would not be restarted, and it would occupy the port.

`bentoml serve` stops its processes and removes their sockets at its own exit, but not when it is killed (SIGKILL, out
of memory).
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from serving.process.graceful_shutdown import KILL_MARGIN_S

log = logging.getLogger("makunouchi.parent")

# Inherited by child processes. Without it no parent is watched, which may be any shell.
PARENT: Final = "SERVICE_PARENT"
_CHECK_EVERY_S = 1.0
# The prefix of BentoML's folder of one server's sockets.
_SOCKET_FOLDER: Final = "bentoml-uds-"


def name_parent() -> None:
    """Make the child processes that are started from now on end with this process."""
    os.environ[PARENT] = str(os.getpid())


def is_named_parent() -> bool:
    """Return whether this process has called `name_parent`."""
    return os.environ.get(PARENT) == str(os.getpid())


def end_with_parent(
    *, grace_s: float, check_every_s: float = _CHECK_EVERY_S, end: Callable[[signal.Signals], None] | None = None
) -> threading.Thread | None:
    """Send SIGTERM to this process when its parent has died, and SIGKILL if it then outlives its grace period.

    Returns the thread that checks the parent, or None without a parent to watch. prctl(PR_SET_PDEATHSIG) needs no
    thread, but also fires when the thread ends that started this process.
    """
    parent = _named_parent()
    if parent is None:
        return None
    end = end or functools.partial(os.kill, os.getpid())
    thread = threading.Thread(target=_watch, args=(parent, check_every_s, grace_s, end), name="parent", daemon=True)
    thread.start()
    return thread


def is_orphan() -> bool:
    """Return whether the parent was named by `name_parent` and has died."""
    parent = _named_parent()
    return parent is not None and os.getppid() != parent


def remove_sockets(own: str, addresses: Mapping[str, str]) -> None:
    """Remove the socket of the service `own`, and the folder of sockets once it is empty.

    `addresses` are the addresses of the services of this server, by name. Each server has its own folder.
    """
    for name, address in addresses.items():
        url = urlsplit(address)
        path = Path(unquote(url.path))
        if url.scheme != "file" or not path.parent.name.startswith(_SOCKET_FOLDER):
            continue
        if name == own:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()


def _named_parent() -> int | None:
    parent = int(os.environ.get(PARENT) or 0)
    return None if parent in (0, os.getpid()) else parent


def _watch(parent: int, check_every_s: float, grace_s: float, end: Callable[[signal.Signals], None]) -> None:
    never = threading.Event()
    # An orphan gets another parent: process 1, or the nearest subreaper.
    while os.getppid() == parent:
        never.wait(check_every_s)
    log.warning("the parent process (%d) has died: exiting", parent)
    end(signal.SIGTERM)
    never.wait(grace_s + KILL_MARGIN_S)
    end(signal.SIGKILL)

"""Set-up of a serving process at its start: its files, garbage collector, report to the supervisor."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import resource
import shutil
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from serving.process.heartbeat import heartbeat

# Set by `serving/process/arbiter.py` for the processes that it supervises.
STARTED_FOLDER: Final = "SERVICE_STARTED_FOLDER"
# The same; prometheus_client reads it.
METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
# Of glibc: allocations of at least so many bytes are returned to the system when they are freed.
_MMAP_THRESHOLD: Final = -3
_RETURNED_BYTES: Final = 8 << 20
# Of glibc: the number of heaps.
_ARENA_MAX: Final = -8


def raise_file_limit() -> int:
    """Raise the limit of open files to the hard limit, and return the limit.

    The soft limit is 1,024 on many systems, for programs that call select(). With as many idle connections, no further
    client could connect.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            # macOS: the kernel rejects an unlimited hard limit.
            logging.getLogger("makunouchi").warning("cannot raise the limit of open files above %d: %s", soft, error)
            return soft
    return hard


def restrict_new_files() -> None:
    """Let no other user read what this process and its children create: files get mode 0600, folders 0700."""
    os.umask(0o077)


def distrust_forwarded_headers() -> None:
    """Make uvicorn ignore X-Forwarded-For and -Proto, unless the environment names addresses that it trusts.

    It trusts loopback by default, so that local callers could choose their address. Call it before the server starts.
    """
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "")


def return_freed_memory() -> None:
    """Make the allocator return large blocks to the system when they are freed, where it is glibc's.

    It raises its threshold whenever a large block is freed, to 32 MiB, and keeps smaller blocks: 350 MiB after images
    of 25 megapixels. With a fixed threshold it is 2 MiB, and images take as long as before.
    """
    _set_allocator(_MMAP_THRESHOLD, _RETURNED_BYTES)


def share_one_heap() -> None:
    """Make all threads allocate from one heap, where the allocator is glibc's. Call it before they start.

    By default there are eight heaps for each core, and `malloc_trim` leaves up to 64 MiB at the end of each but the
    first: after a model of 100 MB was unloaded, 60 MiB. A smaller threshold, as in `return_freed_memory`, would make
    the arrays of a recommender's batch 1,000 page faults, a fifth of its time.
    """
    _set_allocator(_ARENA_MAX, 1)


def freeze_live_objects() -> None:
    """Exclude all live objects from garbage collection; later objects are still collected.

    Modules, routes and weights live as long as the process, and a full collection that visits them delays every
    request: in a gateway 115,000 objects and 180 ms each time, a third of the processor under load. Call it again after
    a reload.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def release_memory() -> None:
    """Free what nothing refers to and return it to the system, where the allocator is glibc's. Call it in a thread.

    Freed blocks below the threshold of `return_freed_memory` stay with the allocator until they are trimmed.
    """
    _clear_type_cache()
    freeze_live_objects()
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def report_started() -> None:
    """Report the start of this process to the supervisor, if there is one, and that it lives from now on.

    The report is a file named after the process id. Call inside the event loop.
    """
    folder = os.environ.get(STARTED_FOLDER)
    if folder:
        # A supervisor that is stopping has removed it.
        with suppress(FileNotFoundError):
            heartbeat.start(Path(folder) / str(os.getpid()))


def remove_reports() -> None:
    """Remove the reports of all processes, for a supervisor that was killed."""
    folder = os.environ.get(STARTED_FOLDER)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def _clear_type_cache() -> None:
    """Drop the interpreter's cache of attributes, which keeps names of which a library made a new string.

    One such string, made while a model was in memory, keeps a whole arena of its objects: 1 MiB for each load.
    """
    # The first one is that of Python 3.13.
    clear = getattr(sys, "_clear_internal_caches", None) or getattr(sys, "_clear_type_cache", None)
    if clear is not None:
        clear()


def _set_allocator(option: int, value: int) -> None:
    """Set an option of the allocator, where it is glibc's."""
    set_option = getattr(_c_library(), "mallopt", None)
    if set_option is not None:
        set_option(option, value)


@cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)

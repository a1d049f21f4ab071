"""Set-up of a serving process that neither a request nor a model owns: logs, open files, what the collector walks, word
to the supervisor.

Called at start.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
from pathlib import Path
from typing import Final

# Named by `serving/process/supervisor.py`, for the processes that it watches.
STARTED_FOLDER: Final = "SERVICE_STARTED_FOLDER"


def raise_file_limit() -> int:
    """Allow this process as many open files as its hard limit permits; how many that is.

    The soft limit is 1,024 on many systems, for the sake of programs that call select(): so many idle connections,
    and no client could connect any more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            # macOS: a hard limit without end is more than the kernel gives.
            logging.getLogger("makunouchi").warning("the limit of open files stays at %d: %s", soft, error)
            return soft
    return hard


def spare_what_lives() -> None:
    """Take what lives now out of the garbage collector's sight; what is made from here on is still collected.

    Modules, routes and weights never die, and a full collection that walks them stalls every request: in a gateway
    115,000 objects, 180 ms each time, a third of the processor under load. Call again when some of it may have died.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def tell_started() -> None:
    """Tell the supervisor, where there is one, that this process has started: by a file named after its number."""
    folder = os.environ.get(STARTED_FOLDER)
    if folder:
        (Path(folder) / str(os.getpid())).touch()

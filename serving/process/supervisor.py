"""Process 1 of the container image: start the processes of `bentoml serve` and supervise them.

    python -m serving.process.supervisor BENTO

BentoML checks for dead processes every ten seconds, which no setting changes, and restarts a process that cannot start
without end. The supervisor restarts a dead process immediately, and exits with status 1 when a process fails to start
several times in a row. A process reports its start by a file (`serving/process/startup.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import select
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

import psutil  # type: ignore[import-untyped]

from serving.process.startup import STARTED_FOLDER

log = logging.getLogger("makunouchi.supervision")

# A start that fails for lack of memory, or because a file is being written, may succeed on a second attempt.
FAILED_STARTS: Final = 3
# A service is restarted immediately at most this often; otherwise BentoML's own check restarts it.
RESTART_EVERY_S: Final = 10.0
# Between two checks without a signal.
_CHECK_EVERY_S = 1.0


class Watched(Protocol):
    """The processes of one service by process id, as circus stores them."""

    name: str
    processes: dict[int, Any]  # Any: circus's own process


class Supervisor:
    """A record of the processes that have died. `check` is called whenever one may have died, and requests restarts.

    `folder` contains a file for each process that has started.
    """

    def __init__(
        self, watched: Callable[[], Iterable[Watched]], folder: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._watched = watched
        self._folder = folder
        self._clock = clock
        self._running: dict[int, str] = {}
        self._failed: Counter[str] = Counter()
        self._restarted: dict[str, float] = {}
        self.unstartable: str | None = None

    def check(self) -> bool:
        """Record new and dead processes, and return whether a restart is due immediately.

        Sets `unstartable` to the name of a service that failed to start FAILED_STARTS times in a row.
        """
        for each in self._watched():
            # list() is atomic: circus changes the dictionary in another thread.
            for pid in list(each.processes):
                self._running.setdefault(pid, _service_name(each))
        dead = {pid: name for pid, name in self._running.items() if not _is_alive(pid)}
        is_due = [self._record_death(pid, name) for pid, name in dead.items()]
        return any(is_due)

    def _record_death(self, pid: int, name: str) -> bool:
        del self._running[pid]
        mark = self._folder / str(pid)
        if mark.exists():
            mark.unlink()
            self._failed[name] = 0
            log.warning("%s (process %d) has died, restarting it", name, pid)
        else:
            self._failed[name] += 1
            log.error("%s failed to start, attempt %d of %d", name, self._failed[name], FAILED_STARTS)
            if self._failed[name] >= FAILED_STARTS:
                self.unstartable = name
        now = self._clock()
        if now - self._restarted.get(name, -RESTART_EVERY_S) < RESTART_EVERY_S:
            return False
        self._restarted[name] = now
        return True


def supervise(bento: str, *, host: str | None, port: int | None) -> int:
    """Serve until a stop signal. Return the exit status: 0, or 1 when a process cannot start or the port is in use."""
    with tempfile.TemporaryDirectory(prefix="started-") as folder, _Signals() as signals:
        os.environ[STARTED_FOLDER] = folder
        server = _start(bento, host=host, port=port)
        signals.install()
        supervision = Supervisor(server.arbiter.iter_watchers, Path(folder))
        # The thread in which BentoML starts and checks its processes.
        thread: threading.Thread = server.arbiter._thread
        while thread.is_alive() and not signals.is_stopped and supervision.unstartable is None:
            if supervision.check():
                server.arbiter.loop.add_callback(_manage_processes, server.arbiter)
            signals.wait(_CHECK_EVERY_S)
        if supervision.unstartable is not None:
            log.error("%s cannot start; its log lines above contain the cause", supervision.unstartable)
        server.stop()
    return 0 if signals.is_stopped else 1


def main() -> None:
    """Run the command line. As with `bentoml serve`, the environment may define host and port."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.process.supervisor", description=(__doc__ or "").partition("`")[0]
    )
    parser.add_argument("bento", help="argument of `bentoml serve`: the folder of a Bento, or service:Gateway")
    parser.add_argument("--host", default=os.environ.get("BENTOML_HOST"))
    port = os.environ.get("PORT") or os.environ.get("BENTOML_PORT")
    parser.add_argument("--port", type=int, default=port)
    options = parser.parse_args()
    sys.exit(supervise(options.bento, host=options.host, port=options.port))


def _start(bento: str, *, host: str | None, port: int | None) -> Any:  # Any: BentoML's Server is untyped
    """Start what `bentoml serve` starts, in a thread, and return the server."""
    from _bentoml_impl.server import serve_http  # type: ignore[import-untyped]
    from bentoml._internal.log import configure_server_logging
    from bentoml._internal.service.loader import load

    configure_server_logging()  # type: ignore[no-untyped-call]
    # The call has disabled all existing loggers.
    log.disabled = False
    log.setLevel(logging.INFO)
    folder = bento if Path(bento).is_dir() else "."
    if sys.path[0] != folder:
        sys.path.insert(0, folder)
    service: Any = load(bento_identifier=bento, working_dir=folder)  # Any: legacy services have another class
    service.inject_config()
    return serve_http(bento, working_dir=folder, host=host, port=port, threaded=True)


class _Signals:
    """Signals to this process as bytes in a socket: a signal handler that takes a lock can deadlock."""

    def __init__(self) -> None:
        self.is_stopped = False

    def __enter__(self) -> _Signals:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._read.close()
        self._write.close()

    def install(self) -> None:
        """Replace the handlers of circus, which would stop it in the thread that it waits for."""
        signal.set_wakeup_fd(self._write.fileno())
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(each, lambda *_: None)

    def wait(self, timeout_s: float) -> None:
        """Return at the next signal, or after `timeout_s`."""
        select.select([self._read], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            self.is_stopped |= bool({signal.SIGTERM, signal.SIGINT} & set(self._read.recv(4096)))


def _manage_processes(arbiter: Any) -> Any:  # Any: circus is untyped
    """Make circus check its processes now. Runs in the thread of circus."""
    from circus.exc import ConflictError  # type: ignore[import-untyped]

    # A check is running, or circus is stopping.
    with contextlib.suppress(ConflictError):
        return arbiter.manage_watchers()


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _service_name(watched: Watched) -> str:
    # BentoML's names: "service" for the served one, "service_<name>" for its dependencies.
    return watched.name.removeprefix("service_") if watched.name != "service" else "the gateway"


if __name__ == "__main__":
    main()

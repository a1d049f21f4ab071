"""Process 1 of the image: starts what `bentoml serve` starts, and watches over it.

    python -m serving.process.supervisor BENTO

BentoML looks for dead processes every ten seconds, a number that no setting changes, and starts one that can never
start again for ever. Here a dead process is started again at once, and one that fails to start several times in a row
ends everything with status 1. A process that has started says so with a file (`serving/process/startup.py`).
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

# A start that fails for want of memory or of a file that is being written may succeed a moment later.
FAILED_STARTS: Final = 3
# One process is started again at once so often; one that dies more often waits for BentoML's own look.
AT_ONCE_S: Final = 10.0
# Between two looks where no signal tells of a death.
_LOOK_S = 1.0


class Watched(Protocol):
    """The processes of one service, as circus keeps them: by process id."""

    name: str
    processes: dict[int, Any]  # Any: circus's own process


class Supervisor:
    """Counts what dies. `look` is called whenever something may have; it starts nothing itself but asks for it.

    `folder` is where processes say that they have started.
    """

    def __init__(
        self, watched: Callable[[], Iterable[Watched]], folder: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._watched = watched
        self._folder = folder
        self._clock = clock
        self._running: dict[int, str] = {}
        self._failed: Counter[str] = Counter()
        self._asked: dict[str, float] = {}
        self.hopeless: str | None = None

    def look(self) -> bool:
        """Notice what has been started and what has died. Whether something is to be started again at once.

        Sets `hopeless` to the name of a service that failed to start too often.
        """
        for each in self._watched():
            # One step of the interpreter: circus changes this in another thread.
            for pid in list(each.processes):
                self._running.setdefault(pid, _service_name(each))
        dead = {pid: name for pid, name in self._running.items() if not _is_alive(pid)}
        wanted = [self._died(pid, name) for pid, name in dead.items()]
        return any(wanted)

    def _died(self, pid: int, name: str) -> bool:
        del self._running[pid]
        mark = self._folder / str(pid)
        if mark.exists():
            mark.unlink()
            self._failed[name] = 0
            log.warning("%s (process %d) has ended: it is started again", name, pid)
        else:
            self._failed[name] += 1
            log.error("%s could not start, %d of %d", name, self._failed[name], FAILED_STARTS)
            if self._failed[name] >= FAILED_STARTS:
                self.hopeless = name
        now = self._clock()
        if now - self._asked.get(name, -AT_ONCE_S) < AT_ONCE_S:
            return False
        self._asked[name] = now
        return True


def supervise(bento: str, *, host: str | None, port: int | None) -> int:
    """Serve until told to stop. The exit status: 0 then, 1 when a process cannot start or the port is taken."""
    with tempfile.TemporaryDirectory(prefix="started-") as folder, _Signals() as signals:
        os.environ[STARTED_FOLDER] = folder
        server = _start(bento, host=host, port=port)
        signals.take()
        supervision = Supervisor(server.arbiter.iter_watchers, Path(folder))
        # BentoML's name for the thread that its processes are started and looked after from.
        thread: threading.Thread = server.arbiter._thread
        while thread.is_alive() and not signals.told and supervision.hopeless is None:
            if supervision.look():
                server.arbiter.loop.add_callback(_look, server.arbiter)
            signals.wait(_LOOK_S)
        if supervision.hopeless is not None:
            log.error("%s cannot start; why is in its lines above", supervision.hopeless)
        server.stop()
    return 0 if signals.told else 1


def main() -> None:
    """As `bentoml serve` does it: the environment may name host and port."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.process.supervisor", description=(__doc__ or "").partition("`")[0]
    )
    parser.add_argument("bento", help="what `bentoml serve` takes: a Bento's folder, or service:Gateway")
    parser.add_argument("--host", default=os.environ.get("BENTOML_HOST"))
    port = os.environ.get("PORT") or os.environ.get("BENTOML_PORT")
    parser.add_argument("--port", type=int, default=port)
    options = parser.parse_args()
    sys.exit(supervise(options.bento, host=options.host, port=options.port))


def _start(bento: str, *, host: str | None, port: int | None) -> Any:  # Any: BentoML's Server is untyped
    """What `bentoml serve` does, in a thread, so that this one is free to watch."""
    from _bentoml_impl.server import serve_http  # type: ignore[import-untyped]
    from bentoml._internal.log import configure_server_logging
    from bentoml._internal.service.loader import load

    configure_server_logging()  # type: ignore[no-untyped-call]
    # It has switched off the loggers that were there.
    log.disabled = False
    log.setLevel(logging.INFO)
    folder = bento if Path(bento).is_dir() else "."
    if sys.path[0] != folder:
        sys.path.insert(0, folder)
    service: Any = load(bento_identifier=bento, working_dir=folder)  # Any: legacy services have another class
    service.inject_config()
    return serve_http(bento, working_dir=folder, host=host, port=port, threaded=True)


class _Signals:
    """Signals to this process as bytes in a socket: a handler that touched a lock could wait for itself."""

    def __init__(self) -> None:
        self.told = False

    def __enter__(self) -> _Signals:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._read.close()
        self._write.close()

    def take(self) -> None:
        """Take them over from circus, which stops in the thread that it would have to wait for."""
        signal.set_wakeup_fd(self._write.fileno())
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(each, lambda *_: None)

    def wait(self, timeout_s: float) -> None:
        """Return when a signal has come, or after `timeout_s`."""
        select.select([self._read], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            self.told |= bool({signal.SIGTERM, signal.SIGINT} & set(self._read.recv(4096)))


def _look(arbiter: Any) -> Any:  # Any: circus is untyped
    """Let circus look after its processes now. Runs in its own thread."""
    from circus.exc import ConflictError  # type: ignore[import-untyped]

    # It is at it already, or stopping.
    with contextlib.suppress(ConflictError):
        return arbiter.manage_watchers()


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _service_name(watched: Watched) -> str:
    # BentoML's names: "service" for the one that is served, "service_<name>" for those it depends on.
    return watched.name.removeprefix("service_") if watched.name != "service" else "the gateway"


if __name__ == "__main__":
    main()

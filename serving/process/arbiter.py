"""The arbiter of `bentoml serve`, which starts and stops all processes: private, bounded stop, fast restarts.

BentoML creates it with constants that no setting changes: two TCP ports without a key, through which every local user
runs commands as the user of the service; a check for dead processes every ten seconds; a day until a process that
ignores SIGTERM is killed. When a service starts, this module replaces the constructor of BentoML's arbiter, and the
function with which circus starts a process. `docs/upstream-reports.md` contains the report.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]
from bentoml._internal.utils import circus
from bentoml.exceptions import BentoMLException
from circus import process as circus_process  # type: ignore[import-untyped]
from circus.exc import ConflictError  # type: ignore[import-untyped]

from serving.process.bounds import RunnerBounds
from serving.process.fork_server import ForkServer
from serving.process.graceful_shutdown import KILL_MARGIN_S
from serving.process.parent_watchdog import name_parent
from serving.process.replacements import Replacements
from serving.process.restarts import RestartPolicy, service_name
from serving.process.startup import METRICS_FOLDER, STARTED_FOLDER
from serving.process.watchdog import ProcessLimits, Watchdog

# Between two checks of the processes: 0.4 ms of processor time for four processes.
_CHECK_EVERY_S: Final = 0.25
_RETRY_STOP_S: Final = 0.05
_Arbiter: Any = circus.Arbiter  # Any: BentoML annotates `stop` with None, and it returns an awaitable
# By service name; BentoML prepares each service by its own call.
_bounds: Final[dict[str, RunnerBounds]] = {}


def supervise(limits: ProcessLimits, bounds: Mapping[str, RunnerBounds] | None = None) -> None:
    """Prepare the process of `bentoml serve`: replace the constructor of BentoML's arbiter, before it creates one.

    Processes that run KILL_MARGIN_S longer than `limits.grace_s` after a stop signal are killed. `bounds` are those of
    services by name, in addition to those of earlier calls.
    """
    name_parent()
    # Titles of processes would use the memory of the environment, and /proc would show none.
    os.environ["SPT_NOENV"] = "1"
    _bounds.update(bounds or {})
    original = inspect.unwrap(_Arbiter.__init__)

    @functools.wraps(original)
    def init(arbiter: Any, watchers: Sequence[Any], **options: Any) -> None:  # Any: circus is untyped
        for listening in options.get("sockets") or ():
            _check_address(listening)
        folder = Path(tempfile.mkdtemp(prefix="supervisor-"))
        # BentoML's is one folder for all services with the same BENTOML_HOME, and the start of another one empties it.
        metrics = folder / "metrics"
        metrics.mkdir()
        services = list(watchers)
        for watcher in services:
            watcher.env[STARTED_FOLDER] = str(folder)
            watcher.env[METRICS_FOLDER] = str(metrics)
            watcher.env.update(_bounds.get(service_name(watcher), RunnerBounds()).environment())
            # With BENTOML_CONTAINERIZED BentoML restarts no process.
            watcher.respawn = True
        # The plugin of `--reload` replaces processes because modules have changed.
        fork_server = None if options.get("plugins") or options.get("debug") else ForkServer.start()
        circus_process.Popen = functools.partial(_start_process, fork_server)
        fixed = {"check_delay": _CHECK_EVERY_S, "proc_name": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])}
        original(arbiter, watchers, **{**options, **_endpoints(folder, options), **fixed})
        for watcher in arbiter.watchers:
            watcher.graceful_timeout = limits.grace_s + KILL_MARGIN_S
        arbiter.exit_stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if fork_server is not None:
            arbiter.exit_stack.callback(fork_server.close)
        stop = functools.partial(_stop, arbiter)
        # circus calls it at SIGTERM and SIGINT.
        arbiter.ctrl.sys_hdl.quit = functools.partial(_quit, arbiter, stop, limit_s=limits.grace_s + 2 * KILL_MARGIN_S)
        replacements = Replacements(folder)
        watchdog = Watchdog(lambda: services, folder, limits, replacements, bounds=_bounds)
        policy = RestartPolicy(lambda: services, folder, replacements=replacements, ended=lambda: watchdog.ended)
        # circus calls it at every check.
        arbiter.manage_watchers = functools.partial(_check, arbiter, watchdog, policy, arbiter.manage_watchers, stop)

    _Arbiter.__init__ = init


def _check_address(listening: Any) -> None:  # Any: circus's own socket
    """Raise BentoMLException if circus could not listen on the TCP address of its socket: it answers by a traceback."""
    if listening.is_unix:
        return
    with socket.socket(listening.family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listening.host, listening.port))
            probe.listen()
        except OSError as error:
            place = f"port {listening.port} of {listening.host}"
            raise BentoMLException(
                f"cannot listen on {place}: {error.strerror}; stop what uses it, or choose another with --port"
            ) from error


def _start_process(
    fork_server: ForkServer | None, command: list[str], *, env: dict[str, str], cwd: str, **options: Any
) -> Any:  # Any: circus is untyped, and so are the options of Popen
    """Start a process of circus: a fork where that is possible."""
    process = None
    # A fork writes to the output of this process.
    if fork_server is not None and command[:2] == [sys.executable, "-m"] and not options.keys() & {"stdout", "stderr"}:
        process = fork_server.fork(command[2:], env=env, cwd=cwd)
    return process or psutil.Popen(command, env=env, cwd=cwd, **options)


def _endpoints(folder: Path, options: dict[str, Any]) -> dict[str, str]:
    """Return the addresses of circus: none outside of this process, except for the plugin of `--reload`.

    The plugin is another process; it uses sockets in `folder`, which only this user can enter.
    """
    scheme = "ipc" if options.get("plugins") else "inproc"
    return {"endpoint": f"{scheme}://{folder}/control", "pubsub_endpoint": f"{scheme}://{folder}/events"}


def _check(
    arbiter: Any,
    watchdog: Watchdog,
    policy: RestartPolicy,
    manage: Callable[[], Any],
    stop: Callable[[], Any],
) -> Any:
    """Kill hung processes, and have circus restart dead ones when that is due, or stop when a service cannot start."""
    if not arbiter._stopping:
        watchdog.check()
    is_due = policy.is_due()
    if policy.unstartable is not None:
        # circus raises it in the main thread after the stop.
        arbiter._exception = BentoMLException(
            f"{policy.unstartable} cannot start; its log lines above contain the cause"
        )
        return stop()
    if is_due:
        # While circus starts processes it refuses another check: the next one is in time.
        with contextlib.suppress(ConflictError):
            result = manage()
            policy.restarted()
            return result
    return None


def _quit(arbiter: Any, stop: Callable[[], Any], *, limit_s: float) -> None:
    """Stop, or kill everything after `limit_s`: this process hangs too when its output is not read."""
    timer = threading.Timer(limit_s, _kill_all)
    timer.daemon = True
    timer.start()
    arbiter.loop.add_callback(stop)


def _kill_all() -> None:
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    os._exit(1)


async def _stop(arbiter: Any) -> None:
    """Stop all processes. While circus starts some, it refuses to stop: try again, or the signal would be lost."""
    while not arbiter._stopping:
        try:
            # An arbiter in a thread overrides it for other threads.
            await _Arbiter.stop(arbiter)
        except ConflictError:
            await asyncio.sleep(_RETRY_STOP_S)

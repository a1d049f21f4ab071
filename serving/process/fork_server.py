"""Fork the processes of the service from one that has imported their modules.

A new interpreter imports the service in 1.4 s of processor time, a fork takes 0.2 s: a start, and the replacement of a
process that has died, take that much less, and the processes share the memory of their modules. The fork server is
itself a fork of `bentoml serve`, made before that starts threads; it ends with it.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import logging
import os
import runpy
import signal
import socket
import sys
import sysconfig
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

import orjson
import psutil  # type: ignore[import-untyped]
import setproctitle
from bentoml._internal.log import SERVER_LOGGING_CONFIG
from threadpoolctl import threadpool_info

from serving.process.bounds import THREAD_VARIABLES
from serving.process.restarts import option_value

log = logging.getLogger("makunouchi.fork_server")

# Our packages. Other modules that are not installed are the user's, and are imported again: they may have changed.
_PACKAGES: Final = frozenset({__name__.partition(".")[0], "models"})
# It chooses between memory and files by the environment when it is imported.
_READ_ENVIRONMENT: Final = frozenset({"prometheus_client"})
# A fork takes a few milliseconds; a machine may be busy.
_FORK_S: Final = 10.0
# Of Linux: orphaned descendants become children of this process.
_PR_SET_CHILD_SUBREAPER: Final = 36


class Forked(psutil.Process):  # type: ignore[misc]
    """A forked child of this process, with what circus uses of `psutil.Popen`."""

    stdin = stdout = stderr = None
    returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs. It is 0 if another call has collected the process."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self.returncode = 0
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


class ForkServer:
    """The process that forks the others. `start` creates it."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    @classmethod
    def start(cls) -> ForkServer | None:
        """Fork this process, or return None where a fork would not be as good as a new interpreter."""
        if sys.platform != "linux":
            return None
        if _has_threads():
            log.warning("processes are started as new interpreters: a library has started threads in this process")
            return None
        if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            return None
        control, other = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # A collection in a fork would copy the pages of all modules.
        gc.collect()
        gc.freeze()
        if os.fork() == 0:
            try:
                _serve(other)
            finally:
                os._exit(0)
        other.close()
        return cls(control)

    def fork(self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: str) -> Forked | None:
        """Start `python -m` with `arguments` as a child of this process, in a new session, without input.

        The descriptor after the argument `--fd` is passed on. Returns None if a new interpreter must be started: the
        bounds of its threads differ, or the fork server has failed.
        """
        if any(env.get(name) != os.environ.get(name) for name in THREAD_VARIABLES):
            return None
        descriptor = option_value(arguments, "--fd")
        passed = [int(descriptor)] if descriptor else []
        request = orjson.dumps({"arguments": arguments, "env": env, "cwd": cwd})
        connection, other = socket.socketpair()
        with connection:
            try:
                with other:
                    connection.settimeout(_FORK_S)
                    socket.send_fds(self._control, [b"\x01"], [other.fileno(), *passed])
                process = Forked(int(connection.recv(16)))
                # A process whose number came too late reads no request, and ends.
                connection.sendall(request)
            except (OSError, ValueError, psutil.NoSuchProcess) as error:
                log.warning("no process can be forked, an interpreter is started instead: %s", type(error).__name__)
                if isinstance(error, OSError):
                    self.close()
                return None
        return process

    def close(self) -> None:
        """End the fork server. Forked processes continue."""
        self._control.close()


def _has_threads() -> bool:
    """Return whether this process has other threads, which a fork would lack, than OpenBLAS starts in each process."""
    restarted: int = sum(library["num_threads"] - 1 for library in threadpool_info() if library["user_api"] == "blas")
    return len(os.listdir("/proc/self/task")) > 1 + restarted


def _serve(control: socket.socket) -> NoReturn:
    """Fork a process for each connection that arrives at `control`, until it is closed."""
    os.setsid()
    # The kernel removes the ended processes between this one and a forked one.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _shadow_descriptors(keep=control.fileno())
    atexit._clear()
    # BentoML configures the logging when no module has created its logger yet, and disables those that exist.
    SERVER_LOGGING_CONFIG["disable_existing_loggers"] = False
    _set_title("fork server")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not message:
            os._exit(0)
        # Without a fork the connection ends without an answer.
        with suppress(OSError):
            if os.fork() == 0:
                _run_detached(control, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _run_detached(control: socket.socket, descriptors: Sequence[int]) -> NoReturn:
    """Fork once more, and end: the fork becomes a child of `bentoml serve`."""
    between = os.getpid()
    try:
        if os.fork() == 0:
            control.close()
            _run(descriptors, between)
    finally:
        os._exit(0)


def _shadow_descriptors(*, keep: int) -> None:
    """Replace the open files of the forked process, whose objects may still close their numbers, by /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
        if descriptor not in (1, 2, keep, null):
            with suppress(OSError):
                os.fstat(descriptor)
                os.dup2(null, descriptor, inheritable=descriptor == 0)


def _run(descriptors: Sequence[int], between: int) -> NoReturn:
    """Become the process that the connection asks for, and end with it."""
    code = 1
    try:
        # Once the process between has ended, this one is a child of `bentoml serve`.
        while os.getppid() == between:
            time.sleep(0.0005)
        connection_fd, *passed = descriptors
        with socket.socket(fileno=connection_fd) as connection, connection.makefile("rb") as stream:
            connection.sendall(b"%d" % os.getpid())
            request = stream.read()
        if request:
            code = _run_module(**orjson.loads(request), passed=passed)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _run_module(arguments: list[str], env: dict[str, str], cwd: str, *, passed: Sequence[int]) -> int:
    """Run `python -m` with `arguments`, and return the exit status."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _set_title(option_value(arguments, "--service-name") or arguments[0])
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path.insert(0, cwd)
    _forget_modules()
    _seed()
    for descriptor in passed:
        arguments[arguments.index("--fd") + 1] = str(descriptor)
    sys.argv[1:] = arguments[1:]
    code: Any = 0  # Any: SystemExit may have a text
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        code = error.code
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code if isinstance(code, int) else int(code is not None)


def _set_title(name: str) -> None:
    """Name this process for `ps`, in at most as many characters as the command line of `bentoml serve` has."""
    setproctitle.setproctitle(f"bentoml: {name}")


def _forget_modules() -> None:
    """Remove the modules that are neither installed nor ours: the service module holds the state of its process."""
    paths = sysconfig.get_paths()
    installed = tuple({f"{paths[name]}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    for name, module in list(sys.modules.items()):
        package, file = name.partition(".")[0], getattr(module, "__file__", None) or ""
        is_known = not file or file.startswith(installed) or package in _PACKAGES
        if not is_known or package in _READ_ENVIRONMENT:
            del sys.modules[name]
    importlib.invalidate_caches()


def _seed() -> None:
    """Seed the global generator of numpy, as Python does with that of `random`: forks would draw equal numbers."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()

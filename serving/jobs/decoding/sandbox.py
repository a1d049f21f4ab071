"""Call functions in child processes with limits on memory, processor time and file size.

A hostile file can end its child only. The gateway decodes no upload itself, and does not load the reader of Parquet.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import orjson

from models.errors import InputError, InputTooLarge, InvalidInput, UnsupportedMedia
from serving.errors.exceptions import FieldFault, JobsUnavailable, Malformed
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.fork_server import STARTED, ChildLimits, read_all, request
from serving.jobs.decoding.task import RESULT_ADAPTER, TASK_ADAPTER, DecodeResult, DecodeTask

log = logging.getLogger("makunouchi.jobs")

# A child waits for the disk in addition to its processor time.
_WALL_FACTOR: Final = 2
# Time that the kernel has to end a child whose time is over.
_GRACE_S: Final = 5
_MAX_ANSWER_BYTES: Final = 4 << 20
# The environment of the gateway contains keys. The other pools of Arrow reserve more address space than the limit.
_ENVIRONMENT: Final = {
    "LC_ALL": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
}
_ROOT = Path(__file__).resolve().parents[3]
_ERRORS: dict[str, type[InputError]] = {
    each.__name__: each for each in (Malformed, InvalidInput, InputTooLarge, UnsupportedMedia)
}


@dataclass(frozen=True, slots=True)
class _Server:
    """A running fork server, and the socket to it."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    def stop(self) -> None:
        """Kill the server and its children, which are one process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.control.close()
        self.process.wait()


class Sandbox:
    """The child processes of one gateway. Their fork server starts with the first call.

    `modules` have the functions that will be called, and are imported before the first call. Thread-safe.
    """

    def __init__(self, modules: Iterable[str] = ()) -> None:
        self._modules = sorted({__name__, *modules})
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._stop: weakref.finalize[[], Sandbox] | None = None

    def decode(self, task: DecodeTask) -> DecodeResult:
        """Decode `task` in a child, and return or raise what `decode` does. Blocks.

        Raises JobsUnavailable when the child cannot start or cannot write the items.
        """
        limits = task.limits
        output = self.call(
            f"{__name__}:decoded",
            TASK_ADAPTER.dump_json(task),
            ChildLimits(
                memory_bytes=limits.max_memory_bytes,
                file_bytes=2 * limits.max_unpacked_bytes,
                cpu_s=limits.cpu_s,
                wall_s=_WALL_FACTOR * limits.cpu_s,
            ),
        )
        if output is None:
            raise InvalidInput("the file cannot be read within the limits of memory and time", location=("body",))
        response: dict[str, Any] = orjson.loads(output)  # Any: JSON
        if "error" in response:
            raise _error_of(response)
        return RESULT_ADAPTER.validate_python(response)

    def call(
        self, function: str, payload: bytes, limits: ChildLimits, *, output: IO[bytes] | None = None
    ) -> bytes | None:
        """Return what `function`, named as `package.module:function`, returns for `payload`. Blocks.

        `output` is the standard output of the child, if it is given. Returns None when the child failed or exceeded a
        limit. Raises JobsUnavailable when no child can start.
        """
        connection = self._connect(output)
        with connection:
            connection.settimeout(limits.wall_s + _GRACE_S)
            try:
                if connection.recv(1) != STARTED:
                    raise JobsUnavailable("no process can be started that reads files: see the log")
                connection.sendall(request(function, payload, limits))
                connection.shutdown(socket.SHUT_WR)
                answer = read_all(connection, max_bytes=_MAX_ANSWER_BYTES)
            except OSError:
                # The child ended before it had read the request, or the time is over.
                return None
        return answer if 0 < len(answer) <= _MAX_ANSWER_BYTES else None

    def close(self) -> None:
        """End the fork server and its children. A later call starts them again."""
        with self._lock:
            self._stop_server()

    def _connect(self, output: IO[bytes] | None) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            for _ in range(2):
                server = self._server or self._start()
                with suppress(OSError):
                    descriptors = [theirs.fileno(), *([] if output is None else [output.fileno()])]
                    socket.send_fds(server.control, [b"\0"], descriptors)
                    return ours
                log.warning("the fork server of decoders has ended; it is started again")
                self._stop_server()
        ours.close()
        raise JobsUnavailable("no process can be started that reads files: see the log")

    def _start(self) -> _Server:
        ours, theirs = socket.socketpair()
        environment = {**_ENVIRONMENT, "PATH": os.environ.get("PATH", "")}
        with theirs:
            process = subprocess.Popen(  # noqa: S603  # our own module
                [sys.executable, "-s", "-m", "serving.jobs.decoding.fork_server", *self._modules],
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, cwd=_ROOT, env=environment, process_group=0,
            )  # fmt: skip
        self._server = _Server(process, ours)
        self._stop = weakref.finalize(self, self._server.stop)
        return self._server

    def _stop_server(self) -> None:
        if self._stop is not None:
            self._stop()
        self._server = self._stop = None


def decoded(payload: bytes) -> bytes:
    """Decode the task in `payload`, and return the result or the error. A child calls this."""
    try:
        return RESULT_ADAPTER.dump_json(decode(TASK_ADAPTER.validate_json(payload)))
    except InputError as error:
        value_type = error.value_type if isinstance(error, FieldFault) else None
        fault = {"message": str(error), "location": error.location, "value_type": value_type}
        return orjson.dumps({"error": type(error).__name__, **fault})
    except MemoryError:
        return orjson.dumps({"error": "InputTooLarge", "message": "reading it needs too much memory", "location": []})
    except OSError as error:
        return orjson.dumps({"error": "JobsUnavailable", "message": f"{error.strerror}", "location": []})


def _error_of(response: dict[str, Any]) -> Exception:  # Any: JSON
    location = tuple(response["location"])
    if response["error"] == "JobsUnavailable":
        return JobsUnavailable(response["message"])
    if response["error"] == "FieldFault":
        return FieldFault(response["message"], location=location, value_type=response["value_type"])
    return _ERRORS.get(response["error"], InvalidInput)(response["message"], location=location)

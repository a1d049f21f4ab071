"""A process that forks a limited child for each call: it reads hostile files, so that the gateway does not.

    python -m serving.jobs.decoding.fork_server MODULE... (standard input is a socket of the gateway)

The modules are imported once, so a child starts in 2 ms instead of the 300 ms of a new interpreter. When the gateway
ends, in whatever way, its socket ends, and this process kills its children and itself.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
from dataclasses import dataclass
from importlib import import_module
from pkgutil import resolve_name
from typing import Final

import orjson

# The first byte of an answer: the child has started, and what ends it now is the call.
STARTED: Final = b"\x01"
# The descriptor of the file that a call may write.
STANDARD_OUTPUT: Final = 1
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """The limits of one child. `cpu_s` is seconds of processor time, `wall_s` of the clock."""

    memory_bytes: int
    file_bytes: int
    cpu_s: int
    wall_s: int


def request(function: str, payload: bytes, limits: ChildLimits) -> bytes:
    """Return the message that has a child call `function`, named as `package.module:function`, with `payload`."""
    return orjson.dumps({"function": function, "limits": limits}) + b"\n" + payload


def read_all(connection: socket.socket, *, max_bytes: int = sys.maxsize) -> bytes:
    """Return what the other side sends until it closes, or more than `max_bytes` of it."""
    data = bytearray()
    while len(data) <= max_bytes and (chunk := connection.recv(_CHUNK_BYTES)):
        data += chunk
    return bytes(data)


def serve(control: socket.socket) -> None:
    """Fork a child for each connection that arrives at `control`. Does not return."""
    # The kernel removes ended children.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not message:
            os.killpg(0, signal.SIGKILL)
        connection_fd, *outputs = descriptors
        with socket.socket(fileno=connection_fd) as connection:
            try:
                is_child = os.fork() == 0
            except OSError:
                # The gateway sees a connection that ends before STARTED.
                is_child = False
            if is_child:
                control.close()
                for output in outputs:
                    os.dup2(output, STANDARD_OUTPUT)
                _answer(connection)
        for output in outputs:
            os.close(output)


def _answer(connection: socket.socket) -> None:
    """Answer the call of one connection, and end this process."""
    try:
        connection.sendall(STARTED)
        header, _, payload = read_all(connection).partition(b"\n")
        call = orjson.loads(header)
        _limit_this_process(ChildLimits(**call["limits"]))
        connection.sendall(resolve_name(call["function"])(payload))
    finally:
        # Not `sys.exit`, which would return to the loop of the parent's code.
        os._exit(0)


def _limit_this_process(limits: ChildLimits) -> None:
    signal.setitimer(signal.ITIMER_REAL, limits.wall_s)
    for limit, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (allowed, allowed))


def main() -> None:
    """Import the modules that the command line names, and serve the socket at standard input."""
    os.nice(5)
    for module in sys.argv[1:]:
        import_module(module)
    # An error of an import is in the log of the gateway. Those of children may contain parts of the file.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    # A collection in a child would copy the pages of all modules.
    gc.freeze()
    serve(socket.socket(fileno=sys.stdin.fileno()))


if __name__ == "__main__":
    main()

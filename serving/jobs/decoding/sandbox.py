"""Decode an upload in a child process with limits on memory, processor time and file size.

    python -m serving.jobs.decoding.sandbox < task.json > result.json

A hostile file can end the child only. The gateway does not load the Parquet reader.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import orjson

from models.errors import InputError, InputTooLarge, InvalidInput, UnsupportedMedia
from serving.errors.exceptions import FieldFault, JobsUnavailable, Malformed
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.task import RESULT_ADAPTER, TASK_ADAPTER, DecodeResult, DecodeTask

# A child waits for the disk in addition to its processor time.
_WALL_FACTOR = 2
_ROOT = Path(__file__).resolve().parents[3]
_ERRORS: dict[str, type[InputError]] = {
    each.__name__: each for each in (Malformed, InvalidInput, InputTooLarge, UnsupportedMedia)
}


def decode_in_child(task: DecodeTask) -> DecodeResult:
    """Run `decode` in a child process, and return or raise what it does. Blocks until the child has ended.

    Raises JobsUnavailable when the child cannot write the items.
    """
    timeout_s = _WALL_FACTOR * task.limits.cpu_s
    output = run_child("serving.jobs.decoding.sandbox", TASK_ADAPTER.dump_json(task), timeout_s=timeout_s)
    if output is None:
        raise InvalidInput("the file cannot be read within the limits of memory and time", location=("body",))
    response: dict[str, Any] = orjson.loads(output)  # Any: JSON
    if "error" in response:
        raise _error_of(response)
    return RESULT_ADAPTER.validate_python(response)


def run_child(
    module: str, standard_input: bytes, *, timeout_s: float, output: IO[bytes] | int = subprocess.PIPE
) -> bytes | None:
    """Return the output of `python -m module`; None when the process failed, was killed, or exceeded the timeout.

    The output goes to the file `output` instead, if it is given.
    """
    # The child does not inherit the environment, which contains keys.
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        process = subprocess.run(  # noqa: S603  # our own module
            [sys.executable, "-s", "-m", module],
            input=standard_input, stdout=output, stderr=subprocess.PIPE, cwd=_ROOT, env=environment, timeout=timeout_s,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    return (process.stdout or b"") if process.returncode == 0 else None


def limit_this_process(*, memory_bytes: int, file_bytes: int, cpu_s: int) -> None:
    """Limit the resources of this process, and lower its priority."""
    os.nice(5)
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (allowed, allowed))


def _error_of(response: dict[str, Any]) -> Exception:  # Any: JSON
    location = tuple(response["location"])
    if response["error"] == "JobsUnavailable":
        return JobsUnavailable(response["message"])
    if response["error"] == "FieldFault":
        return FieldFault(response["message"], location=location, value_type=response["value_type"])
    return _ERRORS.get(response["error"], InvalidInput)(response["message"], location=location)


def _response(task: DecodeTask) -> bytes:
    try:
        return RESULT_ADAPTER.dump_json(decode(task))
    except InputError as error:
        value_type = error.value_type if isinstance(error, FieldFault) else None
        fault = {"message": str(error), "location": error.location, "value_type": value_type}
        return orjson.dumps({"error": type(error).__name__, **fault})
    except MemoryError:
        return orjson.dumps({"error": "InputTooLarge", "message": "reading it needs too much memory", "location": []})
    except OSError as error:
        return orjson.dumps({"error": "JobsUnavailable", "message": f"{error.strerror}", "location": []})


def main() -> None:
    """Read a task from standard input, and write the result or the error to standard output."""
    task = TASK_ADAPTER.validate_json(sys.stdin.buffer.read())
    limits = task.limits
    limit_this_process(
        memory_bytes=limits.max_memory_bytes, file_bytes=2 * limits.max_unpacked_bytes, cpu_s=limits.cpu_s
    )
    sys.stdout.buffer.write(_response(task))


if __name__ == "__main__":
    main()

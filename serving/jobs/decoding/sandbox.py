"""Decodes an upload in a process of its own: what a file does to memory, processor and interpreter stays there.

    python -m serving.jobs.decoding.sandbox < order.json > decoded.json

The process that asks is not held up by it, and does not load what reads Parquet.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

from models.errors import InputError, InputTooLarge, InvalidInput, UnsupportedMedia
from serving.errors.exceptions import FieldFault, JobsUnavailable, Malformed
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.task import DECODED, ORDER, Decoded, DecodeTask

# Beside its processor time a child also waits for the disk.
_WALL_FACTOR = 2
_ROOT = Path(__file__).resolve().parents[3]
_ERRORS: dict[str, type[InputError]] = {
    each.__name__: each for each in (Malformed, InvalidInput, InputTooLarge, UnsupportedMedia)
}


def decode_in_child(order: DecodeTask) -> Decoded:
    """What `decode` gives and raises, made by another process. Blocks until it has ended.

    Raises JobsUnavailable when it cannot write.
    """
    done = run_child(
        "serving.jobs.decoding.sandbox", ORDER.dump_json(order), timeout_s=_WALL_FACTOR * order.limits.cpu_s
    )
    if done is None:
        raise InvalidInput("the file cannot be read within the limits of memory and time", location=("body",))
    told: dict[str, Any] = orjson.loads(done)
    if "error" in told:
        raise _raised(told)
    return DECODED.validate_python(told)


def run_child(module: str, sent: bytes, *, timeout_s: float) -> bytes | None:
    """What `python -m module` wrote, given `sent`; None when it was killed, took too long, or failed."""
    # Nothing of the environment: it holds keys.
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(  # noqa: S603  # our own module
            [sys.executable, "-s", "-m", module],
            input=sent, capture_output=True, cwd=_ROOT, env=environment, timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None


def limit_this_process(*, memory_bytes: int, file_bytes: int, cpu_s: int) -> None:
    """Bound what this process may take, and let others go first."""
    os.nice(5)
    for what, bound in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        allowed = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(what, (allowed, allowed))


def _raised(told: dict[str, Any]) -> Exception:
    location = tuple(told["location"])
    if told["error"] == "JobsUnavailable":
        return JobsUnavailable(told["message"])
    if told["error"] == "FieldFault":
        return FieldFault(told["message"], location=location, value_type=told["value_type"])
    return _ERRORS.get(told["error"], InvalidInput)(told["message"], location=location)


def _answer(order: DecodeTask) -> bytes:
    try:
        return DECODED.dump_json(decode(order))
    except InputError as error:
        value_type = error.value_type if isinstance(error, FieldFault) else None
        told = {"message": str(error), "location": error.location, "value_type": value_type}
        return orjson.dumps({"error": type(error).__name__, **told})
    except MemoryError:
        return orjson.dumps({"error": "InputTooLarge", "message": "it takes too much memory to read", "location": []})
    except OSError as error:
        return orjson.dumps({"error": "JobsUnavailable", "message": f"{error.strerror}", "location": []})


def main() -> None:
    """Read an order, and write what came of it."""
    order = ORDER.validate_json(sys.stdin.buffer.read())
    limits = order.limits
    limit_this_process(
        memory_bytes=limits.max_memory_bytes, file_bytes=2 * limits.max_unpacked_bytes, cpu_s=limits.cpu_s
    )
    sys.stdout.buffer.write(_answer(order))


if __name__ == "__main__":
    main()

"""As many requests as N connections allow, with wrk. Each connection sends its next request when the last is answered.

wrk (Debian package `wrk`) is written in C and takes a few per cent of one core where the servers are the bottleneck.
Its latencies are those of a closed loop; what a caller at a fixed rate sees is `open_loop`'s.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.questions import Question

_SCRIPT = Path(__file__).with_name("closed_loop.lua")
_REQUEST_TIMEOUT_S = 10
_HUNG_S = 30
_MICROSECONDS = ("p50", "p90", "p99", "p99.9", "max", "mean")


@dataclass(frozen=True, slots=True)
class Load:
    """What one run saw. Latencies are in milliseconds; `failed` is by kind: connect, read, write, status, timeout."""

    requests: int
    duration_s: float
    failed: dict[str, int]
    latency_ms: dict[str, float]

    @property
    def answered_per_s(self) -> float:
        """Good answers a second: failed ones are not throughput."""
        bad_status = self.failed.get("status", 0)
        return max(0, self.requests - bad_status) / self.duration_s if self.duration_s else 0.0


def require_wrk() -> str:
    """Version of wrk. Raises FileNotFoundError that says how to get it."""
    if shutil.which("wrk") is None:
        raise FileNotFoundError("wrk is not installed; run: apt-get install wrk")
    printed = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout
    return printed.splitlines()[0].split(" [")[0] if printed else "wrk"


def closed_loop(port: int, questions: Sequence[Question], *, connections: int, seconds: float) -> Load:
    """Load a server for `seconds`. A server that refuses or hangs all connections has failed that many requests."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for number, question in enumerate(questions, start=1):
            Path(folder, f"{number}.http").write_bytes(question.encoded(f"127.0.0.1:{port}"))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        command += ["--timeout", f"{_REQUEST_TIMEOUT_S}s", "-s", str(_SCRIPT), f"http://127.0.0.1:{port}"]
        command += ["--", folder, str(len(questions))]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _HUNG_S, check=False)
        except subprocess.TimeoutExpired:
            return Load(0, seconds, {"timeout": connections}, {})
    if run.returncode and "unable to connect" in run.stdout + run.stderr:
        return Load(0, seconds, {"connect": connections}, {})
    return parse(run.stdout if run.returncode == 0 else run.stderr or run.stdout)


def parse(printed: str) -> Load:
    """Read what `closed_loop.lua` printed. Raises RuntimeError when there is no result in it."""
    line = next((line for line in printed.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise RuntimeError(f"wrk printed no result: {printed[-300:]}")
    found = json.loads(line.removeprefix("RESULT "))
    kinds = ("connect", "read", "write", "status", "timeout")
    return Load(
        requests=found["requests"],
        duration_s=found["duration_us"] / 1e6,
        failed={kind: found[kind] for kind in kinds if found[kind]},
        # Without a single answer wrk prints zeros, which would be the best latencies of all.
        latency_ms={name: found[name] / 1e3 for name in _MICROSECONDS} if found["requests"] else {},
    )

"""Closed-loop load with wrk: each of N connections sends the next request when the last one is answered.

wrk (Debian package `wrk`) is written in C and uses a few per cent of one core if the server is the bottleneck.
`open_loop` measures latencies at a fixed request rate.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http_request import HttpRequest

_SCRIPT = Path(__file__).with_name("closed_loop.lua")
_REQUEST_TIMEOUT_S = 10
_EXIT_TIMEOUT_S = 30
_LATENCIES = ("p50", "p90", "p99", "p99.9", "max", "mean")
_ERRORS = ("connect", "read", "write", "status", "timeout")


@dataclass(frozen=True, slots=True)
class ClosedLoopResult:
    """Result of one load. `failed` counts by kind: connect, read, write, status, timeout."""

    requests: int
    duration_s: float
    failed: dict[str, int]
    latency_ms: dict[str, float]

    @property
    def successful_per_s(self) -> float:
        """Successful requests per second. Failed requests do not count as throughput."""
        bad_status = self.failed.get("status", 0)
        return max(0, self.requests - bad_status) / self.duration_s if self.duration_s else 0.0


def require_wrk() -> str:
    """Return the version of wrk. Raises FileNotFoundError if wrk is not installed."""
    if shutil.which("wrk") is None:
        raise FileNotFoundError("wrk is not installed; run: apt-get install wrk")
    output = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout
    return output.splitlines()[0].split(" [")[0] if output else "wrk"


def closed_loop(port: int, requests: Sequence[HttpRequest], *, connections: int, seconds: float) -> ClosedLoopResult:
    """Load a server for `seconds`.

    If the server refuses or blocks all connections, the result has that number of failed requests.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for number, request in enumerate(requests, start=1):
            Path(folder, f"{number}.http").write_bytes(request.encoded(f"127.0.0.1:{port}"))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        command += ["--timeout", f"{_REQUEST_TIMEOUT_S}s", "-s", str(_SCRIPT), f"http://127.0.0.1:{port}"]
        command += ["--", folder, str(len(requests))]
        timeout_s = seconds + _EXIT_TIMEOUT_S
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired:
            return ClosedLoopResult(0, seconds, {"timeout": connections}, {})
    if run.returncode and "unable to connect" in run.stdout + run.stderr:
        return ClosedLoopResult(0, seconds, {"connect": connections}, {})
    return parse(run.stdout if run.returncode == 0 else run.stderr or run.stdout)


def parse(output: str) -> ClosedLoopResult:
    """Parse the output of `closed_loop.lua`. Raises RuntimeError if it contains no result."""
    line = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise RuntimeError(f"wrk printed no result: {output[-300:]}")
    values = json.loads(line.removeprefix("RESULT "))
    return ClosedLoopResult(
        requests=values["requests"],
        duration_s=values["duration_us"] / 1e6,
        failed={kind: values[kind] for kind in _ERRORS if values[kind]},
        # Without any response wrk prints zeros, which would be the lowest latencies.
        latency_ms={name: values[name] / 1e3 for name in _LATENCIES} if values["requests"] else {},
    )

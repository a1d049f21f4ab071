"""Measure the processor time per request of 30 floats in gateway and runner: `python -m tests.measure.cpu`

It needs wrk. Processor time varies less than throughput on a machine with other load.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.live.server import ROOT, Server, serving

PROJECT = ROOT / "tests" / "live" / "projects" / "overhead"
_REQUEST = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = "[" .. string.rep("0.5,", 29) .. "0.5]"
"""


def measure(server: Server, placement: str, connections: int, seconds: int) -> None:
    """Print a line for one number of connections."""
    processes = {"gateway": server.worker("Gateway")}
    if placement == "process":
        processes["runner"] = server.worker("SumRunner")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_REQUEST)
        script.flush()
        before = {name: _cpu_s(process) for name, process in processes.items()}
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", script.name]
        output = subprocess.run([*command, f"{server.url}/sum"], capture_output=True, text=True, check=True).stdout
    number = int(_match(r"(\d+) requests in", output))
    cost = {name: 1e6 * (_cpu_s(process) - before[name]) / number for name, process in processes.items()}
    rate, p50, p99 = (
        _match(pattern, output) for pattern in (r"Requests/sec:\s+(\d+)", r"\n +50%\s+(\S+)", r"\n +99%\s+(\S+)")
    )
    failed = re.search(r"Non-2xx.*: (\d+)", output)
    line = (
        f"{placement:8} c={connections:<4} {rate:>6}/s  p50 {p50:>8}  p99 {p99:>8}  failed {failed[1] if failed else 0}"
    )
    print(
        line, " processor time of a request:", ", ".join(f"{name} {us:.0f} us" for name, us in cost.items()), flush=True
    )


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _match(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, text
    return match[1]


def main(options: argparse.Namespace) -> None:
    """Print a line per placement and number of connections."""
    for placement in options.placements:
        env = {"OVERHEAD_PLACEMENT": placement, "OMP_NUM_THREADS": "2"}
        with serving("service:Gateway", folder=Path(options.project), env=env) as server:
            for connections in options.connections:
                measure(server, placement, connections, options.seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--placements", nargs="+", default=["process", "inline"], choices=["process", "inline"])
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--project", default=str(PROJECT))
    main(parser.parse_args())

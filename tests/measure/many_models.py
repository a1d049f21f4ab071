"""A service with many small tables: start, memory for each model, and speed.

    python -m tests.measure.many_models --models 100

Prints a table in Markdown. Each figure of speed is the median of `--rounds` rounds that alternate between a service
with three models and one with `--models`; both run at the same time, and one of them is idle.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
from sklearn.datasets import load_wine

from tests.live.server import Server, serving
from tests.live.test_reload import ADMIN, KEYS


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _train(home)
        print(f"{platform.node()}, {psutil.cpu_count()} cores\n")
        print("| figure | 3 models | many |\n|---|---|---|")
        with _started(home, 3) as (few, few_s), _started(home, options.models) as (many, many_s):
            print(f"| models | 3 | {options.models} |")
            print(f"| start, s | {few_s:.1f} | {many_s:.1f} |")
            few_mib, many_mib = _memory(few), _memory(many)
            print(f"| memory of all processes (PSS), MiB | {few_mib:.0f} | {many_mib:.0f} |")
            print(f"| memory for each further model, MiB | | {(many_mib - few_mib) / (options.models - 3):.2f} |")
            speeds = [(_speed(few, options.seconds), _speed(many, options.seconds)) for _ in range(options.rounds)]
            first, second = (statistics.median(each) for each in zip(*speeds, strict=True))
            ratio = statistics.median(b / a for a, b in speeds)
            print(f"| requests/s to one of them, 64 connections | {first:,.0f} | {second:,.0f} ({ratio:.2f} x) |")


def _train(home: Path) -> None:
    """Train a table."""
    from training.tabular.params import Params
    from training.tabular.train import train

    data = home / "wine.csv"
    load_wine(as_frame=True).frame.rename(columns=lambda name: name.replace("/", "_")).to_csv(data, index=False)
    train(Params(data=data, target="target", name="wine"), store=home / "models")


def _started(home: Path, number: int) -> Any:  # Any: a context manager
    @contextlib.contextmanager
    def run() -> Any:
        file = home / f"{number}.toml"
        file.write_text("".join(f'[table{index}]\nartifact = "wine"\n' for index in range(number)))
        env = {
            "BENTOML_HOME": str(home),
            "MAKUNOUCHI_STATE_FOLDER": str(home / f"state{number}"),
            "MAKUNOUCHI_MODELS_FILE": str(file),
            "MAKUNOUCHI_API_KEYS": KEYS,
        }
        started = time.perf_counter()
        with serving("service:Gateway", env=env) as server:
            yield server, time.perf_counter() - started

    return run()


def _processes(server: Server) -> list[psutil.Process]:
    parent = psutil.Process(server.process.pid)
    return [parent, *parent.children(recursive=True)]


def _memory(server: Server) -> float:
    return sum(process.memory_full_info().pss for process in _processes(server)) / (1 << 20)


def _speed(server: Server, seconds: int) -> float:
    """Return requests/s to one table over 64 connections, measured by wrk."""
    document = httpx.get(f"{server.url}/docs.json", headers=ADMIN).json()
    operation = document["paths"]["/v1/models/table1/predict"]["post"]
    body = httpx.Request(
        "POST", "http://x", json=operation["requestBody"]["content"]["application/json"]["examples"]["row"]["value"]
    ).content.decode()
    script = Path(tempfile.gettempdir()) / "many_models.lua"
    script.write_text(
        f'wrk.method = "POST"\nwrk.body = [[{body}]]\nwrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.headers["X-API-Key"] = "{ADMIN["X-API-Key"]}"\n'
    )
    command = ["wrk", "-t1", "-c64", f"-d{seconds}s", "-s", str(script), f"{server.url}/v1/models/table1/predict"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in output, output
    return float(output.split("Requests/sec:")[1].split()[0])


if __name__ == "__main__":
    main()

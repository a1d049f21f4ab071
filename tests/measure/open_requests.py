"""Measure predictions while others hammer pages without a key: `python -m tests.measure.open_requests --home HOME`

HOME is a BENTOML_HOME with the default models (`make train`). Predictions come with a key over 16 connections; the
hammer has 64 connections, accepts gzip and sends its next request as soon as it has a response. Each line has the
predictions per second alone and in the same second half of the test with the hammer, and the responses that the hammer
received. The control is an unknown path, the cheapest response that needs no key. Requires wrk.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.live.server import Server, serving
from tests.serving.access.credentials import API_KEYS, headers

CONTROL = "/unknown"
PATHS = (
    CONTROL, "/docs.json", "/metrics", "/", "/ui/swagger-ui-bundle.js", "/redoc", "/health", "/readyz", "/livez", "/v1",
    "/schema.json",
)  # fmt: skip
PREDICT = "/v1/tabular/predict"
CONNECTIONS, PREDICTING = 64, 16


def main(options: argparse.Namespace) -> None:
    """Print a table: one line for each path."""
    env = {"BENTOML_HOME": str(options.home), "MAKUNOUCHI_API_KEYS": API_KEYS}
    with serving("service:Gateway", env=env) as server, tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "predict.lua")
        script.write_text(_script(server))
        predictions(server, script, options.seconds)
        alone: list[float] = []
        print("path                       alone/s  with/s  share  of control  hammer/s")
        control = 1.0
        for path in options.paths or PATHS:
            alone.append(predictions(server, script, options.seconds))
            during, hammered = hammer(server, path, script, options.seconds)
            share = during / statistics.median(alone)
            control = share if path == CONTROL else control
            print(
                f"{path:25} {alone[-1]:8.0f}{during:8.0f}{share:7.0%}{share / control:12.0%}{hammered:10.0f}",
                flush=True,
            )


def predictions(server: Server, script: Path, seconds: float) -> float:
    """Return the predictions per second."""
    return _rate(_wrk(server, PREDICT, PREDICTING, seconds, "-s", str(script)))


def hammer(server: Server, path: str, script: Path, seconds: float) -> tuple[float, float]:
    """Return the predictions and the responses to the hammer per second."""
    hammering = _wrk(server, path, CONNECTIONS, seconds + 3, "-H", "Accept-Encoding: gzip")
    time.sleep(2)  # longer than the burst that is free
    during = predictions(server, script, seconds)
    return during, _rate(hammering)


def _script(server: Server) -> str:
    operation = server.get("/openapi.json").json()["paths"][PREDICT]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    body = json.dumps(next(iter(examples.values()))["value"])
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers("predict").items()]
    return "\n".join(
        ['wrk.method = "POST"', f"wrk.body = [=[{body}]=]", 'wrk.headers["Content-Type"] = "application/json"', *lines]
    )


def _wrk(server: Server, path: str, connections: int, seconds: float, *more: str) -> subprocess.Popen[str]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", *more, server.url + path]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _rate(wrk: subprocess.Popen[str]) -> float:
    output = wrk.communicate()[0]
    match = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if match is None:
        raise SystemExit(f"wrk failed:\n{output}")
    return float(match[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("paths", nargs="*")
    main(parser.parse_args())

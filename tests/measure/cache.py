"""Measure the response cache: `python -m tests.measure.cache`. It needs wrk and the default models.

Prints the requests per second of the real service without and with `MAKUNOUCHI_CACHE_BYTES`, for identical requests
and for requests that are all different.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from models.store.artifacts import default_store
from tests.live.server import ROOT, Server, serving

IMAGE = ROOT / "docs" / "images" / "chelsea.jpg"
_ROW = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local head, tail, number = %s, %s, 0
function request()
  number = number + %d
  return wrk.format(nil, "/v1/tabular/predict", nil, head .. (1000 + number) .. tail)
end
"""
_IMAGE = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "image/jpeg"
local file = io.open("%s", "rb")
wrk.body = file:read("*a")
file:close()
wrk.path = "/v1/images/classify"
"""


def main(options: argparse.Namespace) -> None:
    """Print a line per setting and type of request."""
    with tempfile.TemporaryDirectory() as home:
        shutil.copytree(default_store(), Path(home) / "models")
        for size in (0, 64 << 20):
            env = {"BENTOML_HOME": home, "MAKUNOUCHI_CACHE_BYTES": str(size)}
            with serving("service:Gateway", env=env) as server:
                for what, script, connections in (
                    ("one row, identical requests", _rows(server, step=0), 32),
                    ("one row, different requests", _rows(server, step=1), 32),
                    ("one 451x300 JPEG, identical requests", _IMAGE % IMAGE, 8),
                ):
                    rate = _rate(server, script, connections, options.seconds)
                    print(f"{'with' if size else 'without'}: {what}, c={connections}: {rate}/s", flush=True)


def _rows(server: Server, *, step: int) -> str:
    """Return a wrk script whose rows increase `credit_amount` by `step`."""
    row = {
        "sex": "male", "job": 2, "housing": "own", "saving_accounts": "not_known", "checking_account": "little",
        "duration": 6, "purpose": "radio/TV", "age": 67, "credit_amount": 0,
    }  # fmt: skip
    head, tail = json.dumps({"instances": [row]}).rsplit("0", 1)
    return _ROW % (json.dumps(head), json.dumps(tail), step)


def _rate(server: Server, script: str, connections: int, seconds: int) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", file.name, server.url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in output, output
    match = re.search(r"Requests/sec:\s+(\d+)", output)
    assert match, output
    return match[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4)
    main(parser.parse_args())

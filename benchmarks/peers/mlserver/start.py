"""Writes the two settings files of MLServer into a temporary folder and executes `mlserver start`."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from pathlib import Path

from benchmarks.peers.workloads.loader import max_batch_size, port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    # The benchmark deletes the temporary folder of this server when it stops.
    folder = Path(tempfile.mkdtemp(prefix="mlserver-"))
    server = {
        "host": "127.0.0.1",
        "http_port": port(),
        "grpc_port": _free_port(),
        "metrics_port": _free_port(),
        "parallel_workers": 1,
        "debug": False,
        "use_structured_logging": False,
    }
    model: dict[str, object] = {"name": "bench", "max_batch_size": max_batch_size(), "max_batch_time": 0.002}
    if os.environ.get("BENCH_RUNTIME") == "baseline":
        model |= {"implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": os.environ["BENCH_MODEL"]}}
    else:
        model |= {"implementation": "benchmarks.peers.mlserver.runtime.Runtime"}
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))
    os.execv(Path(sys.executable).with_name("mlserver"), ["mlserver", "start", str(folder)])  # noqa: S606

"""What the hardware gives without any server: decoding and inference in a bare loop on the same two cores."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.options import Options
from benchmarks.photographs import photographs
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.statistics import medians
from benchmarks.targets import ROOT, base_env

_IMAGES = 8
# Any peer's environment with OpenVINO and simplejpeg will do.
_ENVIRONMENT = "mosec"


def measure(options: Options) -> dict[str, Any]:
    """By image scenario, images a second (median of rounds), or why it was not measured."""
    found: dict[str, Any] = {}
    for scenario in SCENARIOS:
        if scenario.kind == "image" and options.wants(scenario.key):
            try:
                rounds = [_bare_loop(scenario, options.seconds * scenario.length) for _ in range(options.rounds)]
                found[scenario.key] = {**medians(rounds), "rounds": rounds}
                print(f"  bare loop, {scenario.key}: {found[scenario.key]['images_per_s']:.1f} images/s", flush=True)
            except (FileNotFoundError, subprocess.SubprocessError, environments.NotInstallable) as error:
                found[scenario.key] = {"missing": f"{error}; {getattr(error, 'stderr', '') or ''}"[-400:]}
                print(f"  bare loop, {scenario.key}: {found[scenario.key]['missing']}", flush=True)
    return found


def _bare_loop(scenario: Scenario, seconds: float) -> dict[str, float]:
    python = environments.prepare(_ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        files = []
        for number, image in enumerate(photographs(scenario.image_size, _IMAGES)):
            files.append(Path(folder, f"{number}.jpg"))
            files[-1].write_bytes(image)
        command = [str(python), "-m", "benchmarks.peers.bare_loop", str(seconds), *map(str, files)]
        env = {**base_env(), "BENCH_ARTIFACT": str(scenario.artifact())}
        run = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, check=True, timeout=60 + 4 * seconds
        )
    return {"images_per_s": float(json.loads(run.stdout.splitlines()[-1])["images_per_s"])}

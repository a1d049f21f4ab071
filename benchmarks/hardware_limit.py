"""Upper limit of the image scenarios: decoding and inference in a loop without a server, on the same two cores."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.images import jpeg_images
from benchmarks.options import Options
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.statistics import medians
from benchmarks.targets import ROOT, base_env

_IMAGES = 8
# The environment of any peer with OpenVINO and simplejpeg.
_ENVIRONMENT = "mosec"


def measure(options: Options) -> dict[str, Any]:
    """Return images per second (median of the rounds) by image scenario, or the reason why they are missing."""
    results: dict[str, Any] = {}
    for scenario in SCENARIOS:
        if scenario.kind == "image" and options.wants(scenario.key):
            try:
                rounds = [_run(scenario, options.seconds * scenario.length) for _ in range(options.rounds)]
                results[scenario.key] = {**medians(rounds), "rounds": rounds}
                text = f"{results[scenario.key]['images_per_s']:.1f} images/s"
            except (FileNotFoundError, subprocess.SubprocessError, environments.InstallError) as error:
                text = f"{error}; {getattr(error, 'stderr', '') or ''}"[-400:]
                results[scenario.key] = {"missing": text}
            print(f"  decoding and inference in a loop, {scenario.key}: {text}", flush=True)
    return results


def _run(scenario: Scenario, seconds: float) -> dict[str, float]:
    python = environments.prepare(_ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        files = []
        for number, image in enumerate(jpeg_images(scenario.image_size, _IMAGES)):
            files.append(Path(folder, f"{number}.jpg"))
            files[-1].write_bytes(image)
        command = [str(python), "-m", "benchmarks.peers.bare_loop", str(seconds), *map(str, files)]
        env = {**base_env(), "BENCH_ARTIFACT": str(scenario.artifact())}
        run = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, check=True, timeout=60 + 4 * seconds
        )
    return {"images_per_s": float(json.loads(run.stdout.splitlines()[-1])["images_per_s"])}

"""Measure how long hostile JSON holds the event loop: `python -m tests.measure.hostile_json`

Prints the processor time of the longest iteration of the loop, the status, and the name of the body. With `--live` the
bodies go to a server with the default models, and the time is the longest that a call of `/livez` waited for it.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from serving.process.startup import freeze_live_objects
from tests.fixtures_default import trained_default_home
from tests.hostile_json import CORPUS, PATHS
from tests.live.livez_probe import LivezProbe
from tests.live.livez_probe import post as post_to_server
from tests.live.server import serving
from tests.serving.in_process_service import LocalService
from tests.serving.loop_stalls import longest_stall, post

# Returns the seconds and the status of one request.
Measure = Callable[[str, str, bytes], tuple[float, int]]


def in_this_process(options: argparse.Namespace) -> None:
    """Measure a service without a server."""
    service = LocalService()
    service.handlers.open()
    # As a gateway does at its start: garbage collections pass over the objects that stay.
    freeze_live_objects()

    async def send(path: str, content_type: str, body: bytes) -> int:
        status, _ = await post(service.edged, path, content_type, body)
        return status

    def measure(path: str, content_type: str, body: bytes) -> tuple[float, int]:
        with longest_stall() as stall:
            status = asyncio.run(send(path, content_type, body))
        return stall.seconds, status

    report(measure, options)
    service.handlers.close()


def live(options: argparse.Namespace) -> None:
    """Measure a server."""
    home = trained_default_home()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(home / "models", Path(folder) / "models")
        with serving("service:Gateway", env={"BENTOML_HOME": folder}) as server:

            def measure(path: str, content_type: str, body: bytes) -> tuple[float, int]:
                with LivezProbe(server) as probe:
                    status = post_to_server(server.port, path, content_type, body)
                return probe.longest_s, status

            report(measure, options)


def report(measure: Measure, options: argparse.Namespace) -> None:
    """Measure each body, and print the shortest of several rounds; then the longest of all bodies."""
    measured: list[tuple[float, str]] = []
    for name, (content_type, make) in CORPUS.items():
        door = name.partition("/")[0]
        if options.only in name and "jobs" not in door:
            body = make()
            seconds, status = min(measure(PATHS[door], content_type, body) for _ in range(options.rounds))
            print(f"{1e3 * seconds:8.1f} ms  {status}  {name}  ({len(body) / 1e6:.1f} MB)", flush=True)
            measured.append((seconds, name))
    seconds, name = max(measured)
    print(f"longest: {1e3 * seconds:.1f} ms, {name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--live", action="store_true")
    chosen = parser.parse_args()
    (live if chosen.live else in_this_process)(chosen)

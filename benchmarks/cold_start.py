"""Time from the start of a server to its first successful response, with and without its files in the page cache."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.cases import make_cases
from benchmarks.options import Options
from benchmarks.rounds import StartError, start
from benchmarks.scenarios import SCENARIO
from benchmarks.selection import Peers, build_requests, select_targets
from benchmarks.targets import OURS, PEERS, ROOT, Target

PART = "starts"
_SCENARIO = SCENARIO["tabular"]
_BASELINE_SUFFIX = "-sklearn"


def measure(options: Options, peers: Peers) -> dict[str, Any]:
    """Return `cold_s` and `warm_s` by target of the tabular scenario, or the reason why they are missing."""
    if not options.wants(PART):
        return {}
    print("> start time", flush=True)
    try:
        cases = make_cases(_SCENARIO)
        targets = select_targets(_SCENARIO, options, peers)
    except FileNotFoundError as error:
        return {"missing": str(error)}
    results: dict[str, Any] = {}
    for target in targets:
        if target.key.endswith(_BASELINE_SUFFIX):
            continue
        requests = build_requests(target, _SCENARIO, cases)
        logs = options.output / "logs" / "starts"
        try:
            evict(_folders(target))
            cold = start(target, requests, logs)
            cold.server.stop()
            warm = start(target, requests, logs)
            warm.server.stop()
        except StartError as error:
            results[target.key] = {"missing": str(error)[:400]}
            continue
        results[target.key] = {"cold_s": round(cold.start_s, 2), "warm_s": round(warm.start_s, 2)}
        print(f"  {target.key:18} cold {cold.start_s:6.2f} s  warm {warm.start_s:6.2f} s", flush=True)
    return results


def evict(folders: Iterable[Path]) -> None:
    """Evict all files below the folders from the page cache.

    Needs no privileges. Pages that another process has mapped stay in the cache.
    """
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                with contextlib.suppress(OSError):
                    descriptor = os.open(path, os.O_RDONLY)
                    try:
                        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                    finally:
                        os.close(descriptor)


def _folders(target: Target) -> list[Path]:
    if target.peer == OURS:
        code = [ROOT / name for name in ("models", "serving")]
        return [Path(target.command[0]).parent.parent / "lib", *code, *target.artifacts]
    return [environments.python_of(PEERS[target.peer]).parent.parent / "lib", *target.artifacts]

"""Seconds from starting a server to its first right answer: with its files evicted from the page cache, and again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.options import Options
from benchmarks.rounds import NotStarted, start
from benchmarks.scenarios import SCENARIOS, make_cases
from benchmarks.targets import OURS, PEERS, ROOT, Target

PART = "starts"
_SCENARIO = next(scenario for scenario in SCENARIOS if scenario.key == "tabular")
_PLAIN = "-sklearn"


def measure(options: Options, peers: dict[str, Any]) -> dict[str, Any]:
    """By target of the tabular scenario, `cold_s` and `warm_s`, or why it was not measured."""
    if not options.wants(PART):
        return {}
    from benchmarks.running import chosen_targets, questions

    print("> starts", flush=True)
    try:
        cases = make_cases(_SCENARIO)
        targets = chosen_targets(_SCENARIO, options, peers)
    except FileNotFoundError as error:
        return {"missing": str(error)}
    found: dict[str, Any] = {}
    for target in targets:
        if target.key.endswith(_PLAIN):
            continue
        asked = questions(target, _SCENARIO, cases)
        logs = options.output / "logs" / "starts"
        try:
            evict(_files(target))
            cold = start(target, asked, logs)
            cold.server.stop()
            warm = start(target, asked, logs)
            warm.server.stop()
        except NotStarted as error:
            found[target.key] = {"missing": str(error)[:400]}
            continue
        found[target.key] = {"cold_s": round(cold.start_s, 2), "warm_s": round(warm.start_s, 2)}
        print(f"  {target.key:18} cold {cold.start_s:6.2f} s  warm {warm.start_s:6.2f} s", flush=True)
    return found


def evict(folders: Iterable[Path]) -> None:
    """Ask the kernel to forget the contents of all files below. Needs no rights; files in use elsewhere stay."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                with contextlib.suppress(OSError):
                    descriptor = os.open(path, os.O_RDONLY)
                    try:
                        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                    finally:
                        os.close(descriptor)


def _files(target: Target) -> list[Path]:
    if target.peer == OURS:
        code = [ROOT / name for name in ("models", "serving")]
        return [Path(target.command[0]).parent.parent / "lib", *code, *target.artifacts]
    return [environments.python_of(PEERS[target.peer]).parent.parent / "lib", *target.artifacts]

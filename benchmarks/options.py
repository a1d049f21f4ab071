"""What to measure, from the command line. Knows names, not what they stand for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_EPILOGUE = """\
Through make:  make bench ONLY=tabular,image PEERS=ours,fastapi ROUNDS=1 SECONDS=2
A name in --only is the beginning of a scenario's name, or one of: openloop, rows, catalogue, gateways, starts.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """Empty `only` or `peers` stand for all."""

    command: str
    only: tuple[str, ...]
    peers: tuple[str, ...]
    rounds: int
    seconds: float
    output: Path
    report: bool
    requests: int
    source: Path | None

    def wants(self, part: str) -> bool:
        return not self.only or any(part.startswith(name) for name in self.only)

    def wants_peer(self, peer: str, target: str) -> bool:
        return not self.peers or peer in self.peers or target in self.peers


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line; exits with a message on one that is not understood."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the service beside its peers, on this machine, in one run.",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command",
        nargs="?",
        default="run",
        choices=("run", "memory", "install", "report", "list"),
        help="run: measure and report (default). memory: growth over a million requests. install: the peers' "
        "environments alone. report: write RESULTS.md again. list: scenarios and servers.",
    )
    parser.add_argument("--only", default="", help="scenarios, comma-separated (all)")
    parser.add_argument(
        "--peers", default="", help="ours, bentoml, litserve, mlserver, ray, mosec, fastapi, or targets (all)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts (3)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=1.0,
        help="length of one load; of images twice that, of the large catalogue four times (1)",
    )
    parser.add_argument("--output", type=Path, default=Path("results"), help="where the JSON goes (results)")
    parser.add_argument(
        "--requests", type=int, default=1_000_000, help="memory: how many requests in the end (1000000)"
    )
    parser.add_argument("--source", type=Path, default=None, help="report: the JSON to read (the published one)")
    parser.add_argument("--no-report", dest="report", action="store_false", help="leave RESULTS.md as it is")
    given = parser.parse_args(arguments)
    if given.rounds < 1 or given.seconds < 1 or given.requests < 1:
        parser.error("--rounds, --seconds and --requests have to be at least 1")
    return Options(
        command=given.command,
        only=_names(given.only),
        peers=_names(given.peers),
        rounds=given.rounds,
        seconds=given.seconds,
        output=given.output,
        report=given.report,
        requests=given.requests,
        source=given.source,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())

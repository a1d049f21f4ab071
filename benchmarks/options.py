"""Command-line options of the benchmark."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_EPILOGUE = """\
With make:  make bench ONLY=tabular,image PEERS=ours,fastapi ROUNDS=1 SECONDS=2
A name in --only is a prefix of a scenario name, or one of: openloop, rows, catalogue, gateways, starts.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """Parsed options. An empty `only` or `peers` selects everything."""

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
    """Parse the command line. Exits with a message if it is not valid."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.rounds < 1 or parsed.seconds < 1 or parsed.requests < 1:
        parser.error("--rounds, --seconds and --requests must be at least 1")
    return Options(
        command=parsed.command,
        only=_names(parsed.only),
        peers=_names(parsed.peers),
        rounds=parsed.rounds,
        seconds=parsed.seconds,
        output=parsed.output,
        report=parsed.report,
        requests=parsed.requests,
        source=parsed.source,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the service and its peers on this machine, in one run.",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "command",
        nargs="?",
        default="run",
        choices=("run", "memory", "install", "report", "list"),
        help="run: measure and write the report (default). memory: memory growth over a million requests. install: "
        "create the environments of the peers. report: write RESULTS.md again. list: scenarios and servers.",
    )
    add("--only", default="", help="scenarios, comma-separated (default: all)")
    add("--peers", default="", help="ours, bentoml, litserve, mlserver, ray, mosec, fastapi, or targets (default: all)")
    add("--rounds", type=int, default=3, help="number of rounds; the report contains their median (default: 3)")
    add(
        "--seconds",
        type=float,
        default=1.0,
        help="duration of one load; twice as long for images, four times for the large catalogue (default: 1)",
    )
    add("--output", type=Path, default=Path("results"), help="folder of the JSON documents (default: results)")
    add("--requests", type=int, default=1_000_000, help="memory: total number of requests (default: 1000000)")
    add("--source", type=Path, default=None, help="report: JSON document to read (default: the published one)")
    add("--no-report", dest="report", action="store_false", help="do not write RESULTS.md")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())

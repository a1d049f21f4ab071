"""The command `python -m models.store fetch SOURCE --name NAME`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from models.store.artifacts import find
from models.store.sources.fetch import fetch
from models.store.sources.progress import TerminalLine
from models.store.sources.schemes import SCHEMES
from models.store.sources.source import DEFAULT_OPTIONS, SourceOptions


def add_fetch(subparsers: Any) -> None:  # Any: argparse has no public type for what add_subparsers returns
    """Add the subcommand. Its function is the default `run` of the parsed arguments."""
    parser = subparsers.add_parser(
        "fetch",
        help="copy an artifact from a source into the model store",
        description="Copy an artifact from a source into the model store, verified. An interrupted copy is continued.",
    )
    parser.add_argument("source", help=f"where the artifact is: {', '.join(SCHEMES)}")
    parser.add_argument("--name", required=True, help="name of the artifact in the model store")
    parser.add_argument(
        "--promote", action="store_true", help="let `latest` name the version, also if there are others"
    )
    parser.add_argument(
        "--max-bytes", type=int, default=DEFAULT_OPTIONS.max_bytes, metavar="N", help="maximum size of the artifact"
    )
    parser.add_argument(
        "--http-host", action="append", default=[], metavar="HOST", help="host that may be read without TLS; repeatable"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Fetch, and print the tag. Raise PlatformError."""
    options = SourceOptions(max_bytes=arguments.max_bytes, http_hosts=tuple(arguments.http_host))
    line = TerminalLine(sys.stderr)
    try:
        artifact = fetch(
            arguments.source, name=arguments.name, options=options, report=line, is_promoted=arguments.promote
        )
    finally:
        line.end()
    sys.stdout.write(f"{artifact.tag}\n")
    latest = find(artifact.name)
    if latest.version != artifact.version:
        sys.stderr.write(f"latest is still {latest.tag}; --promote lets it name {artifact.tag}\n")

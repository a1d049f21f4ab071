"""Command line of the attacks: `python -m tests.attack --short --only files --output results.json`.

The exit status is 1 when a bar is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from tests.attack.report import HEADER, details, row
from tests.attack.run import Options, Result, run
from tests.attack.scenario import load_scenarios
from tests.live.server import ROOT

SECONDS, SHORT_SECONDS = 600.0, 90.0


def main(options: argparse.Namespace) -> int:
    """Run the chosen scenarios, print the report, and return the exit status."""
    # The blocks that end the processes of the service run on SIGTERM too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    known = load_scenarios()
    if unknown := sorted(set(options.only) - known.keys()):
        print(f"unknown scenario {', '.join(unknown)}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [
        each
        for each in known.values()
        if each.name in options.only or (not options.only and (each.in_short or not options.short))
    ]
    seconds = options.slack * (options.seconds or (SHORT_SECONDS if options.short else SECONDS))
    how = Options(options.home / "models", options.short, seconds, options.root, options.entries, options.slack)
    print(HEADER, flush=True)
    results: list[Result] = []
    try:
        for result in run(chosen, how):
            print(row(result), flush=True)
            results.append(result)
    finally:
        print("\n" + "\n".join(details(results)), flush=True)
        if options.output:
            options.output.write_text(json.dumps([vars(each) for each in results], indent=1) + "\n")
    return 1 if any(each.broken for each in results) else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--short", action="store_true", help="the form of continuous integration: at most 90 s")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this scenario; may be repeated")
    parser.add_argument("--entries", default="*", metavar="PATTERN", help="only these entries of a corpus")
    parser.add_argument("--output", type=Path, metavar="JSON", help="file for the results")
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    parser.add_argument("--home", type=Path, default=home, help="BENTOML_HOME with trained models")
    parser.add_argument("--slack", type=float, default=1.0, help="factor of the limits of times, for loaded machines")
    parser.add_argument("--root", type=Path, default=ROOT, help="source tree of the service; this one by default")
    parser.add_argument("--seconds", type=float, help="time after which no scenario starts")
    sys.exit(main(parser.parse_args()))

"""Command line of the benchmark: `python -m benchmarks`, used by `make bench`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks import options
from benchmarks.options import Options
from benchmarks.results import Document


def main() -> None:
    """Run the command of the command line."""
    parsed = options.parse(sys.argv[1:])
    match parsed.command:
        case "list":
            _list()
        case "install":
            from benchmarks import selection

            selection.install_peers(parsed)
        case "report":
            from benchmarks import report, results

            print(f"wrote {report.publish(results.read(parsed.source))}")
        case "memory":
            from benchmarks import memory_growth

            _measure(memory_growth.run, parsed)
        case _:
            from benchmarks import running

            _measure(running.run, parsed)


def _measure(run: Callable[[Options], Document], parsed: Options) -> None:
    # Imported before the run, so that a missing plotting library does not fail a long run at its end.
    from benchmarks import report, results

    document = run(parsed)
    print(f"wrote {results.save(document, parsed.output)}")
    if parsed.command == "run" and parsed.peers:
        print("not published: a published table needs a run with all servers; run without --peers")
    elif parsed.report:
        print(f"wrote {report.publish(results.merge(document))}")


def _list() -> None:
    from benchmarks.scenarios import SCENARIOS
    from benchmarks.targets import targets_of

    for scenario in SCENARIOS:
        try:
            names = " ".join(target.key for target in targets_of(scenario))
        except FileNotFoundError as error:
            names = str(error)
        print(f"{scenario.key:20} {scenario.title}\n{'':20} {names}")


if __name__ == "__main__":
    try:
        main()
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)

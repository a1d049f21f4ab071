"""`python -m benchmarks`: measure, report. `make bench` calls it."""

from __future__ import annotations

import sys

from benchmarks import options


def main() -> None:
    """Do what the command line says."""
    chosen = options.parse(sys.argv[1:])
    if chosen.command == "list":
        _list()
        return
    from benchmarks import growth, report, results, running

    if chosen.command == "install":
        running.install(chosen)
        return
    if chosen.command == "report":
        print(f"wrote {report.publish(results.read(chosen.source))}")
        return
    document = running.run(chosen) if chosen.command == "run" else growth.run(chosen)
    print(f"wrote {running.save(document, chosen.output)}")
    if chosen.command == "run" and chosen.peers:
        print("not published: a table is of one run with all its servers; leave out PEERS to publish")
    elif chosen.report:
        print(f"wrote {report.publish(results.merged(document))}")


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

"""One run of everything that was asked for, as one JSON document. Ties the parts together, measures nothing itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import environments, machine
from benchmarks.artifacts import read_card
from benchmarks.closed_loop import require_wrk
from benchmarks.options import Options
from benchmarks.payloads import put
from benchmarks.questions import Question
from benchmarks.results import Document
from benchmarks.rounds import Plan, run_rounds
from benchmarks.scenarios import SCENARIOS, Case, Scenario, make_cases
from benchmarks.targets import OURS, PEERS, Target, make_twin, targets_of


def run(options: Options) -> Document:
    """Measure what `options` ask for. A part that cannot be measured is in the document with its reason."""
    from benchmarks import bounds, container, openloops, starts, sweeps

    began = time.perf_counter()
    document: Document = {
        "machine": machine.describe(),
        "load_generator": require_wrk(),
        "options": _described(options),
    }
    document["peers"] = install(options)
    scenarios: dict[str, Any] = {}
    document["scenarios"] = scenarios
    for scenario in SCENARIOS:
        if options.wants(scenario.key):
            print(f"> {scenario.key}: {scenario.title}", flush=True)
            scenarios[scenario.key] = measure(scenario, options, document["peers"])
            save(document, options.output)
    parts: dict[str, Callable[[], Document]] = {
        "bounds": lambda: bounds.measure(options),
        "open_loop": lambda: openloops.measure(options, document["peers"]),
        "sweeps": lambda: sweeps.measure(options),
        "starts": lambda: starts.measure(options, document["peers"]),
        "container": container.measure,
    }
    for name, part in parts.items():
        document[name] = part()
        document["took_s"] = round(time.perf_counter() - began)
        # After each part: what breaks a long run at its end does not lose its beginning.
        save(document, options.output)
    return document


def install(options: Options) -> dict[str, Any]:
    """Make the environments of the peers taking part; by peer, their versions or why they are missing."""
    found: dict[str, Any] = {}
    for peer, folder in PEERS.items():
        if options.peers and not any(name.startswith(peer) for name in options.peers):
            continue
        try:
            environments.prepare(folder)
            found[peer] = {"versions": environments.versions(folder)}
        except environments.NotInstallable as error:
            print(f"  {peer} cannot be installed: {error}", flush=True)
            found[peer] = {"missing": str(error)}
    return found


def measure(scenario: Scenario, options: Options, peers: Document) -> Document:
    """One scenario: rounds over its targets."""
    try:
        cases = make_cases(scenario)
        targets = chosen_targets(scenario, options, peers)
    except FileNotFoundError as error:
        print(f"  left out: {error}", flush=True)
        return {"title": scenario.title, "missing": str(error)}
    asked = [(target, questions(target, scenario, cases)) for target in targets]
    plan = Plan(options.rounds, options.seconds * scenario.length)
    logs = options.output / "logs" / scenario.key
    return {"title": scenario.title, "targets": run_rounds(asked, scenario.connections, plan, logs)}


def chosen_targets(scenario: Scenario, options: Options, peers: Document) -> list[Target]:
    """The targets that are asked for and can be started; what their models need is made."""
    usable = [OURS, *(peer for peer, found in peers.items() if "missing" not in found)]
    chosen = [
        target
        for target in targets_of(scenario)
        if target.peer in usable and options.wants_peer(target.peer, target.key)
    ]
    folder = scenario.artifact()
    if scenario.kind == "tabular" and folder is not None and any(target.is_own_judge for target in chosen):
        try:
            make_twin(folder)
        except environments.NotInstallable as error:
            print(f"  {error}", flush=True)
            chosen = [target for target in chosen if not target.is_own_judge]
    return chosen


def questions(target: Target, scenario: Scenario, cases: list[Case]) -> list[Question]:
    """The scenario's cases in the words of one target."""
    folder = scenario.artifact()
    classes = tuple(read_card(folder)["classes"]) if scenario.kind == "tabular" and folder is not None else ()
    return [put(target.style, scenario.kind, case, classes=classes) for case in cases]


def save(document: Document, folder: Path) -> Path:
    """Write the document as results/DATE.json; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = str(document["machine"]["date"]).replace(":", "").replace("+0000", "Z")
    path = folder / f"bench-{stamp}.json"
    path.write_text(json.dumps(document, indent=1))
    return path


def _described(options: Options) -> Document:
    return {
        "only": list(options.only),
        "peers": list(options.peers),
        "rounds": options.rounds,
        "seconds": options.seconds,
    }

"""Targets and requests of a run, selected by its options and by the peers that are installed."""

from __future__ import annotations

from typing import Any

from benchmarks import environments
from benchmarks.artifacts import read_card
from benchmarks.cases import Case
from benchmarks.http_request import HttpRequest
from benchmarks.options import Options
from benchmarks.payloads import build_request
from benchmarks.scenarios import Scenario
from benchmarks.targets import OURS, PEERS, Target, targets_of, train_baseline

Peers = dict[str, dict[str, Any]]  # Any: JSON


def install_peers(options: Options) -> Peers:
    """Create the environments of the selected peers. Returns the versions by peer, or the reason of a failure."""
    peers: Peers = {}
    for peer, folder in PEERS.items():
        if options.peers and not any(name.startswith(peer) for name in options.peers):
            continue
        try:
            environments.prepare(folder)
            peers[peer] = {"versions": environments.versions(folder)}
        except environments.InstallError as error:
            print(f"  {peer} cannot be installed: {error}", flush=True)
            peers[peer] = {"missing": str(error)}
    return peers


def select_targets(scenario: Scenario, options: Options, peers: Peers) -> list[Target]:
    """Return the selected targets of a scenario whose peers are installed. Trains the baseline if a target needs it.

    Raises FileNotFoundError if the artifact of the scenario is missing.
    """
    available = {OURS, *(peer for peer, environment in peers.items() if "missing" not in environment)}
    targets = [
        target
        for target in targets_of(scenario)
        if target.peer in available and options.wants_peer(target.peer, target.key)
    ]
    folder = scenario.artifact()
    if scenario.kind == "tabular" and folder is not None and any(target.is_self_validated for target in targets):
        try:
            train_baseline(folder)
        except environments.InstallError as error:
            print(f"  {error}", flush=True)
            targets = [target for target in targets if not target.is_self_validated]
    return targets


def build_requests(target: Target, scenario: Scenario, cases: list[Case]) -> list[HttpRequest]:
    """Return the requests of a scenario in the format of a target."""
    classes = class_names(scenario)
    return [build_request(target.style, scenario.kind, case, classes=classes) for case in cases]


def class_names(scenario: Scenario) -> tuple[str, ...]:
    """Return the class names of a tabular artifact in the order of its probabilities; empty for other scenarios."""
    folder = scenario.artifact()
    return tuple(read_card(folder)["classes"]) if scenario.kind == "tabular" and folder is not None else ()

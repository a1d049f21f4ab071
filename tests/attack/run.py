"""Runs scenarios against a service and judges what its clients saw."""

from __future__ import annotations

import itertools
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.attack.bystander import Bystander, Ledger
from tests.attack.probe import GATEWAY, Sample
from tests.attack.scenario import Attack, Scenario
from tests.attack.target import GRACE_S, Target, attacked
from tests.live.server import ROOT

# The gateway decodes images within 1 GiB, and a child may use 2 GiB for a large upload.
GATEWAY_MB, OTHER_MB = 1536.0, 2200.0
# Time for the acknowledged jobs to end.
JOBS_S = 60.0
# Time from SIGTERM to the end, with a hung runner: it is killed 5 s after the grace period.
STOP_S = GRACE_S + 8.0
# Statuses that no request may get. 503 and 504 are documented refusals.
FAULTS = ("500", "501", "502")


@dataclass
class Result:
    """What one scenario, or the proof after all scenarios of a server, found."""

    name: str
    took_s: float
    seen: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    probes: int = 0
    livez_ms: float = 0.0
    held_ms: float = 0.0
    memory_mb: dict[str, float] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Options:
    """How to attack. `seconds` is the time after which no scenario starts, `pattern` selects entries of corpora.

    `models` is the model store, `root` the source tree of the service. `slack` multiplies the limits of times.
    """

    models: Path
    is_short: bool = False
    seconds: float = 600.0
    root: Path = ROOT
    pattern: str = "*"
    slack: float = 1.0


def run(scenarios: Sequence[Scenario], options: Options) -> Iterator[Result]:
    """Run the scenarios, grouped by the settings of their server, and yield each result."""
    ends_s = time.monotonic() + options.seconds
    late = [f"not run within {options.seconds:.0f} s"]
    by_env = sorted(scenarios, key=lambda each: sorted(each.env.items()))
    for _, group in itertools.groupby(by_env, key=lambda each: sorted(each.env.items())):
        members = list(group)
        if time.monotonic() > ends_s:
            yield from (Result(each.name, 0.0, broken=late) for each in members)
            continue
        with attacked(members[0].env, root=options.root, models=options.models) as target:
            ledger = Ledger()
            for each in members:
                is_late = time.monotonic() > ends_s
                yield Result(each.name, 0.0, broken=late) if is_late else run_one(each, target, ledger, options, ends_s)
            yield prove(target, ledger, options, "other settings" if members[0].env else "default settings")


def run_one(scenario: Scenario, target: Target, ledger: Ledger, options: Options, ends_s: float) -> Result:
    """Run one scenario with the bystander, and judge it."""
    target.server.wait_ready()
    bystander = Bystander(target, ledger).start()
    attack = Attack(target, bystander, options.is_short, ends_s, options.pattern, options.slack)
    begin_s = time.monotonic()
    try:
        scenario.run(attack)
        target.server.wait_ready()
    except Exception as error:  # any: one scenario's failure must not hide the results of the others
        attack.broken.append(_line(error))
    end_s = time.monotonic()
    bystander.stop()
    result = Result(scenario.name, end_s - begin_s, attack.seen, bystander.seen, facts=attack.facts)
    measure(result, target.probe.between(begin_s, end_s))
    result.broken = [*attack.broken, *judge(attack, result)]
    return result


def prove(target: Target, ledger: Ledger, options: Options, settings: str) -> Result:
    """Stop the service while a runner hangs, start it again, and look for everything that it acknowledged."""
    begin_s = time.monotonic()
    result = Result(f"proof ({settings})", 0.0)
    try:
        target.server.wait_ready()
        target.server.worker("TabularRunner").suspend()
        status, stop_s = target.stop()
        _find_acknowledged(target, ledger, result)
    except Exception as error:  # any: the results of the scenarios must not be lost
        result.broken.append(_line(error))
    else:
        stopped = f"SIGTERM with a stopped runner: exit {status} after {stop_s:.1f} s"
        result.facts.append(stopped)
        if status != 0 or stop_s > STOP_S * options.slack:
            result.broken.append(f"{stopped}, limit {STOP_S * options.slack:.0f} s")
    result.took_s = time.monotonic() - begin_s
    return result


def _find_acknowledged(target: Target, ledger: Ledger, result: Result) -> None:
    result.facts.append(f"start: {target.start():.1f} s")
    missing = ledger.missing_events(target.feedback_file)
    faults = ledger.open_jobs(target, timeout_s=JOBS_S)
    result.facts.append(
        f"acknowledged: {len(ledger.events)} events, {len(missing)} lost; "
        f"{len(ledger.jobs)} jobs, {len(faults)} lost or open"
    )
    if missing:
        result.broken.append(f"{len(missing)} acknowledged events are lost")
    result.broken += faults


def _line(error: Exception) -> str:
    """Return an error as one line with its place."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {str(error)[:300]}"


def measure(result: Result, samples: Sequence[Sample]) -> None:
    """Add what the probes measured to `result`."""
    result.probes = len(samples)
    result.livez_ms = 1000 * max((each.took_s for each in samples), default=0.0)
    result.held_ms = 1000 * max((each.held_s for each in samples), default=0.0)
    for each in samples:
        for name, size_mb in each.memory_mb.items():
            result.memory_mb[name] = max(result.memory_mb.get(name, 0.0), size_mb)


def judge(attack: Attack, result: Result) -> list[str]:
    """Return the bars that a run broke, in addition to those that the scenario itself recorded."""
    seen = (attack.seen, attack.bystander.seen)
    broken = [f"{number} x {what}" for each in seen for what, number in each.items() if what.split()[-1] in FAULTS]
    if not result.probes:
        broken.append("no probe of /livez was made")
    if not attack.may_interrupt:
        if refusals := attack.bystander.refusals():
            broken.append(f"the bystander was refused: {', '.join(f'{n} x {what}' for what, n in refusals.items())}")
        if result.livez_ms > (limit_ms := 1000 * attack.livez_s * attack.slack):
            broken.append(f"/livez took {result.livez_ms:.0f} ms, limit {limit_ms:.0f} ms")
    if attack.held_s is not None and result.held_ms > (limit_ms := 1000 * attack.held_s * attack.slack):
        broken.append(f"the gateway computed {result.held_ms:.0f} ms during one probe, limit {limit_ms:.0f} ms")
    for name, size_mb in result.memory_mb.items():
        limit_mb = GATEWAY_MB if name == GATEWAY else OTHER_MB
        if size_mb > limit_mb:
            broken.append(f"{name} used {size_mb:.0f} MB, limit {limit_mb:.0f} MB")
    return broken

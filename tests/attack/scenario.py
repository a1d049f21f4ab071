"""Scenarios of attacks and their registry."""

from __future__ import annotations

import fnmatch
import importlib
import pkgutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tests.attack.bystander import Bystander
    from tests.attack.target import Target

T = TypeVar("T")

# The longest time of a response to a probe during a scenario that interrupts nothing.
LIVEZ_S = 1.0
# The time for the entries of one corpus.
CORPUS_S = 120.0
# The longest processor time of the gateway during one probe while attacks are sent one at a time. One body may hold the
# loop for 50 ms; the rest is for the bystander's requests and the clock, whose ticks are 10 ms.
HELD_S = 0.1


@dataclass
class Attack:
    """One run of a scenario: what it attacks, what its clients saw, what it measured, and which bars it broke.

    Corpora are sent until `ends_s` of the monotonic clock, and only the entries that match `pattern`.
    `may_interrupt` permits refused and lost requests of other callers: processes are killed. `held_s` is the bar of
    the gateway's processor time during one probe. `slack` multiplies the limits of times, for machines under load.
    """

    target: Target
    bystander: Bystander
    is_short: bool
    ends_s: float
    pattern: str = "*"
    slack: float = 1.0
    seen: Counter[str] = field(default_factory=Counter)
    facts: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    may_interrupt: bool = False
    livez_s: float = LIVEZ_S
    held_s: float | None = None

    def count(self, what: object) -> None:
        """Count what a client saw: a status, or how the connection ended."""
        self.seen[str(what)] += 1

    def entries(self, corpus: Mapping[str, T]) -> Iterator[tuple[str, T]]:
        """Yield the entries of a corpus. Record a broken bar when the time is over before the end."""
        names = fnmatch.filter(corpus, self.pattern)
        ends_s = min(self.ends_s, time.monotonic() + CORPUS_S * self.slack)
        for index, name in enumerate(names):
            if time.monotonic() > ends_s:
                self.broken.append(f"{len(names) - index} of {len(names)} entries were not sent in time")
                return
            yield name, corpus[name]

    def fact(self, text: str) -> None:
        """Record a measurement."""
        self.facts.append(text)

    def within(self, took_s: float, limit_s: float, what: str) -> None:
        """Record a broken bar if `what` took longer than `limit_s`."""
        if took_s > limit_s * self.slack:
            self.broken.append(f"{what} took {took_s:.2f} s, limit {limit_s * self.slack:.2f} s")

    def require(self, holds: bool, what: str) -> None:
        """Record `what` as a broken bar unless `holds`."""
        if not holds:
            self.broken.append(what)


Run = Callable[[Attack], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A registered attack. Scenarios with the same `env`, settings of the service, share a server.

    `in_short` includes it in the short form. `faults` names the rows of docs/measurements/attacks.md that it measures.
    """

    name: str
    run: Run
    in_short: bool
    env: Mapping[str, str]
    faults: tuple[int, ...]


SCENARIOS: dict[str, Scenario] = {}


def size_text(content: bytes) -> str:
    """Return the size of a body as text."""
    return f"{len(content):,} bytes" if len(content) < 100_000 else f"{len(content) / 1e6:.1f} MB"


def scenario(
    name: str, *, short: bool = False, env: Mapping[str, str] | None = None, faults: tuple[int, ...] = ()
) -> Callable[[Run], Run]:
    """Register the decorated function as a scenario."""

    def register(run: Run) -> Run:
        if name in SCENARIOS:
            raise ValueError(f"the scenario '{name}' is registered twice")
        SCENARIOS[name] = Scenario(name, run, short, dict(env or {}), faults)
        return run

    return register


def load_scenarios() -> dict[str, Scenario]:
    """Import all modules of `tests.attack.scenarios` and return the registry."""
    from tests.attack import scenarios

    for module in pkgutil.iter_modules(scenarios.__path__):
        importlib.import_module(f"{scenarios.__name__}.{module.name}")
    return SCENARIOS

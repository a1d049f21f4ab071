"""Which version of one model answers a request, and what is asked beside it. Knows versions and callers, no answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from models.errors import NotKnown, Overloaded, RunnerUnavailable, VersionNotLoaded
from serving.context import NO_DEADLINE, current_version_request, set_context
from serving.runners.interface import ModelRef, RunnerStatus
from serving.versions.metrics import version_metrics
from serving.versions.shadow_comparison import Agreement
from serving.versions.state import KeptPlan, Plans
from serving.versions.traffic_split import NO_SPLIT, TrafficSplit

log = logging.getLogger("makunouchi.traffic")

# Shadows of one model under way in one gateway. More are dropped: what they hold is memory.
MAX_SHADOWS = 16


class Heard(Protocol):
    """A runner whose status is heard now and then."""

    @property
    def last_status(self) -> RunnerStatus: ...


class Answered(Protocol):
    """An answer that names the model that made it."""

    @property
    def model(self) -> ModelRef: ...


A = TypeVar("A", bound=Answered)


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """The version that a request goes to, empty for the default one. `is_named`: the request names it."""

    version: str = ""
    is_named: bool = False


class VersionRouter:
    """The traffic of the model `name` in the store. Without plans all of it goes to the default version."""

    def __init__(self, name: str = "", *, runner: Heard | None = None, plans: Plans | None = None) -> None:
        self.name = name
        self._runner = runner
        self._plans = plans
        self.kept = KeptPlan(NO_SPLIT, "")
        self._shadows: set[asyncio.Task[None]] = set()

    @property
    def plan(self) -> TrafficSplit:
        """How the requests are shared out now."""
        return self.kept.plan

    @property
    def default(self) -> str:
        """The version that answers by default, as far as is known here; empty before the runner has said."""
        model = self._runner.last_status.model if self._runner is not None else None
        return model.version if model is not None else ""

    @property
    def answering(self) -> tuple[str, ...]:
        """The versions that can be asked for by name, the default one first."""
        return tuple(dict.fromkeys(version for version in (self.default, *self.plan.versions) if version))

    @property
    def is_plain(self) -> bool:
        """Whether every request that names no version goes to the default one, and to no other."""
        return not self.plan.weights and not self.plan.shadow

    def choose(self, user_id: str = "") -> RoutingDecision:
        """The version that answers the current request; for `user_id` always the same one, else for its caller.

        Raises NotKnown, with those that can be asked for, when the request names another.
        """
        asker = current_version_request()
        if asker.version:
            if self.default and asker.version not in self.answering:
                self._look_again(asker.version, asker.location)
            return RoutingDecision(asker.version, is_named=True)
        if not self.plan.weights:
            return RoutingDecision()
        return RoutingDecision(self.plan.choose(f"{self.name}\0{f'user:{user_id}' if user_id else asker.sticky_key()}"))

    def model(self, heard: ModelRef | None) -> ModelRef | None:
        """The model that answers the current request, where `heard` is the default one. Raises as `choose` does."""
        version = self.choose().version
        return ModelRef(heard.name, version) if heard is not None and version else heard

    def fall_back(self, decision: RoutingDecision) -> RoutingDecision:
        """Return the default version instead of one that is not loaded. Raises RunnerUnavailable for a named one."""
        if decision.is_named:
            raise RunnerUnavailable(f"version '{decision.version}' is not loaded at the moment")
        if decision.version:
            version_metrics().ended(self.name, decision.version, "fallback")
        return RoutingDecision()

    async def timed(self, choice: RoutingDecision, asked: Awaitable[A], *, requests: int = 1) -> A:
        """Wait for a response to `requests` requests, and count them for the version that gave it."""
        started = time.perf_counter()
        try:
            answer = await asked
        except VersionNotLoaded:
            raise
        except Exception:
            version_metrics().ended(self.name, choice.version or self.default, "error")
            raise
        version_metrics().answered(self.name, answer.model.version, time.perf_counter() - started, requests=requests)
        return answer

    def shadow(self, answered: str, ask: Callable[[str], Awaitable[Agreement]]) -> None:
        """Have the shadow, where there is one, asked in the background; `ask` gives how far it agrees.

        `answered` is the version that answered: a shadow of itself tells nothing. Never waits and never raises. With
        too many under way it is dropped, and counted.
        """
        version = self.plan.shadow
        if not version or version == answered:
            return
        if len(self._shadows) >= MAX_SHADOWS:
            version_metrics().ended(self.name, version, "dropped", role="shadow")
            return
        task = asyncio.get_running_loop().create_task(self._shadow(version, ask), name=f"shadow of {self.name}")
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def settled(self) -> None:
        """Wait until no shadow is under way."""
        await asyncio.gather(*self._shadows, return_exceptions=True)

    def close(self) -> None:
        """End the shadows that are under way."""
        for task in tuple(self._shadows):
            task.cancel()

    async def _shadow(self, version: str, ask: Callable[[str], Awaitable[Agreement]]) -> None:
        # Whoever asked has been answered, and may be gone.
        set_context(NO_DEADLINE)
        started = time.perf_counter()
        try:
            found = await ask(version)
        except Overloaded:
            version_metrics().ended(self.name, version, "dropped", role="shadow")
        except Exception as error:
            # Its words stay out: they may quote the input.
            log.warning("the shadow %s of %s failed: %s", version, self.name, type(error).__name__)
            version_metrics().ended(self.name, version, "error", role="shadow")
        else:
            metrics = version_metrics()
            metrics.answered(self.name, version, time.perf_counter() - started, role="shadow")
            metrics.compared(self.name, version, agreement=found.share, difference=found.difference)

    def _look_again(self, version: str, location: tuple[str | int, ...]) -> None:
        """Another gateway may have been told a moment ago."""
        if self._plans is not None:
            kept = self._plans.read(self.name)
            if kept.serial != self.kept.serial:
                self.kept = kept
        if version not in self.answering:
            known = ", ".join(self.answering) or "none"
            message = f"version '{version[:100]}' of '{self.name}' does not answer; answering: {known}"
            raise NotKnown(message, location=location)

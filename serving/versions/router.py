"""Routes each request to a version of one model, and copies of requests to a shadow version."""

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
from serving.versions.shadow_comparison import Comparison
from serving.versions.state import DeploymentState
from serving.versions.traffic_split import NO_SPLIT, TrafficSplit

log = logging.getLogger("makunouchi.traffic")

# Shadow calls of one model in flight in one gateway. More are dropped, because each holds its input in memory.
MAX_SHADOWS = 16


class RunnerWithStatus(Protocol):
    """A runner whose last status is known without a call."""

    @property
    def last_status(self) -> RunnerStatus: ...


class VersionedAnswer(Protocol):
    """An answer that names the model that made it."""

    @property
    def model(self) -> ModelRef: ...


A = TypeVar("A", bound=VersionedAnswer)


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """The version that a request goes to, empty for the default one. `is_named`: the request names it."""

    version: str = ""
    is_named: bool = False


class VersionRouter:
    """Router of the model `name`. The reconciler sets `split`; without one the default version gets all requests."""

    def __init__(
        self, name: str = "", *, runner: RunnerWithStatus | None = None, state: DeploymentState | None = None
    ) -> None:
        self.name = name
        self.split: TrafficSplit = NO_SPLIT
        self._runner = runner
        self._state = state
        self._shadows: set[asyncio.Task[None]] = set()

    @property
    def default(self) -> str:
        """The default version that the runner last reported; empty before it has."""
        model = self._runner.last_status.model if self._runner is not None else None
        return model.version if model is not None else ""

    @property
    def available(self) -> tuple[str, ...]:
        """The versions that a request can name, the default one first."""
        return tuple(dict.fromkeys(version for version in (self.default, *self.split.versions) if version))

    @property
    def is_plain(self) -> bool:
        """Whether every request that names no version goes to the default one, and to no other."""
        return not self.split.weights and not self.split.shadow

    def choose(self, user_id: str = "") -> RoutingDecision:
        """Return the version for the current request: for one `user_id`, or else one caller, always the same one.

        Raises NotKnown with the available versions when the request names another.
        """
        requested = current_version_request()
        if requested.version:
            if self.default and requested.version not in self.available:
                self._check_available(requested.version, requested.location)
            return RoutingDecision(requested.version, is_named=True)
        if not self.split.weights:
            return RoutingDecision()
        key = f"user:{user_id}" if user_id else requested.sticky_key()
        return RoutingDecision(self.split.choose(f"{self.name}\0{key}"))

    def model(self, default: ModelRef | None) -> ModelRef | None:
        """Return the model for the current request, where `default` is the default one. Raises as `choose` does."""
        version = self.choose().version
        return ModelRef(default.name, version) if default is not None and version else default

    def fall_back(self, decision: RoutingDecision) -> RoutingDecision:
        """Return the default version in place of one that is not loaded. Raises RunnerUnavailable for a named one."""
        if decision.is_named:
            raise RunnerUnavailable(f"version '{decision.version}' is not loaded at the moment")
        if decision.version:
            version_metrics().record_outcome(self.name, decision.version, "fallback")
        return RoutingDecision()

    async def measure(self, decision: RoutingDecision, call: Awaitable[A], *, requests: int = 1) -> A:
        """Await `call`, which answers `requests` requests, and count them for the version that gave the answer."""
        started = time.perf_counter()
        try:
            answer = await call
        except VersionNotLoaded:
            raise
        except Exception:
            version_metrics().record_outcome(self.name, decision.version or self.default, "error")
            raise
        version_metrics().record_answer(
            self.name, answer.model.version, time.perf_counter() - started, requests=requests
        )
        return answer

    def shadow(self, answered: str, call: Callable[[str], Awaitable[Comparison]]) -> None:
        """Start `call` for the shadow version in the background, unless it is `answered`, the version that answered.

        `call` predicts with the version and compares the answers. Never waits and never raises; beyond `MAX_SHADOWS`
        calls in flight the call is dropped and counted.
        """
        version = self.split.shadow
        if not version or version == answered:
            return
        if len(self._shadows) >= MAX_SHADOWS:
            version_metrics().record_outcome(self.name, version, "dropped", role="shadow")
            return
        task = asyncio.get_running_loop().create_task(self._shadow(version, call), name=f"shadow of {self.name}")
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    def close(self) -> None:
        """Cancel the shadow calls in flight."""
        for task in tuple(self._shadows):
            task.cancel()

    async def _shadow(self, version: str, call: Callable[[str], Awaitable[Comparison]]) -> None:
        # The original request has its answer: its deadline and its connection do not limit this call.
        set_context(NO_DEADLINE)
        started = time.perf_counter()
        try:
            comparison = await call(version)
        except Overloaded:
            version_metrics().record_outcome(self.name, version, "dropped", role="shadow")
        except Exception as error:
            # The error's text may quote the input, so only its class is logged.
            log.warning("the shadow %s of %s failed: %s", version, self.name, type(error).__name__)
            version_metrics().record_outcome(self.name, version, "error", role="shadow")
        else:
            metrics = version_metrics()
            metrics.record_answer(self.name, version, time.perf_counter() - started, role="shadow")
            metrics.record_comparison(self.name, version, agreement=comparison.share, difference=comparison.difference)

    def _check_available(self, version: str, location: tuple[str | int, ...]) -> None:
        """Raise NotKnown unless the state has `version`: another gateway may have changed the split just now."""
        if self._state is not None:
            self.split = self._state.model(self.name).split
        if version not in self.available:
            served = ", ".join(self.available) or "no version"
            message = f"version '{version[:100]}' of '{self.name}' is not served; served: {served}"
            raise NotKnown(message, location=location)

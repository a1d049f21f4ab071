"""Changes how the requests to a model are shared out, while it answers, and keeps gateways and runners to it.

The runner is told which versions to hold, and loads what it lacks beside what answers; only then does the plan change.
What was asked is kept in a file: other gateways follow it, and a runner that starts anew is told again. Knows runners
and plans, no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.card import Card
from models.errors import ArtifactError, ArtifactMissing, NotKnown, RunnerError
from serving.concurrency import cancel_and_wait
from serving.errors.exceptions import FieldFault, ReloadRefused
from serving.runners.interface import RunnerStatus
from serving.versions.router import VersionRouter
from serving.versions.state import KeptPlan, Plans
from serving.versions.traffic_split import NO_SPLIT, TrafficSplit

log = logging.getLogger("makunouchi.traffic")

FOLLOW_EVERY_S = 1.0
# After a version could not be held: until it is tried again.
REST_S = 30.0


class Holder(Protocol):
    """A runner that can hold several versions."""

    @property
    def last_status(self) -> RunnerStatus: ...

    async def hold(self, versions: Sequence[str], *, timeout_s: float = ...) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """One model whose traffic can be shared out.

    `card` gives the card of a version in the store; it may read the disk, and raises ArtifactError.
    """

    traffic: VersionRouter
    runner: Holder
    card: Callable[[str], Card]


class TrafficController:
    """The traffic of the models of `shared`, by their names in the store; each may name `max_versions` versions."""

    def __init__(self, shared: Mapping[str, Shared], plans: Plans, *, max_versions: int) -> None:
        self._shared = dict(shared)
        self._plans = plans
        self._max_versions = max_versions
        self._changing = {name: asyncio.Lock() for name in shared}
        # By model, versions that its runner could not hold, and until when (`time.monotonic`) it is not asked again.
        self._rests: dict[str, tuple[tuple[str, ...], float]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The models whose traffic can be shared out."""
        return tuple(self._shared)

    def shared(self, name: str) -> Shared:
        """One model. Raises NotKnown with the names that are served."""
        shared = self._shared.get(name)
        if shared is None:
            known = ", ".join(self._shared)
            raise NotKnown(f"no model '{name[:100]}' is served; served: {known}", location=("path", "name"))
        return shared

    async def set(self, name: str, plan: TrafficSplit, *, timeout_s: float = 300.0) -> Shared:
        """Share the requests out by `plan`, when every version of it is loaded and has answered its example.

        Raises NotKnown for a model or a version that is not there, FieldFault for too many, ReloadRefused with the
        reason when a version cannot be loaded, and RunnerUnavailable; whatever it raises, the traffic is as it was.
        """
        shared = self.shared(name)
        if len(plan.versions) > self._max_versions:
            message = f"{len(plan.versions)} versions are named; at most {self._max_versions} may be loaded for this"
            raise FieldFault(message, location=("body", "weights"), value_type="object")
        async with self._changing[name]:
            await asyncio.to_thread(_check, shared, plan)
            try:
                await shared.runner.hold(plan.versions, timeout_s=timeout_s)
            except ArtifactMissing as error:
                raise NotKnown(str(error), location=("body", "weights")) from error
            except ArtifactError as error:
                raise ReloadRefused(f"{error}; the traffic is as it was") from error
            kept = await asyncio.to_thread(self._plans.write, name, plan)
            shared.traffic.kept = kept or KeptPlan(plan, "")
            self._rests.pop(name, None)
        log.info("%s: traffic is shared out by %s, shadow %s", name, dict(plan.weights) or "default", plan.shadow)
        return shared

    async def clear(self, name: str, *, timeout_s: float = 300.0) -> Shared:
        """Give everything to the version that answers by default. Raises NotKnown, RunnerUnavailable."""
        return await self.set(name, NO_SPLIT, timeout_s=timeout_s)

    def start(self) -> None:
        """Take up what is kept, and follow it in the background."""
        for name, shared in self._shared.items():
            shared.traffic.kept = self._plans.read(name)
        self._task = asyncio.get_running_loop().create_task(self._follow(), name="traffic")

    async def stop(self) -> None:
        """End what `start` began, and the shadows."""
        task, self._task = self._task, None
        await cancel_and_wait(task)
        for shared in self._shared.values():
            shared.traffic.close()

    async def _follow(self) -> None:
        while True:
            for name, shared in self._shared.items():
                try:
                    async with self._changing[name]:
                        await self._look(name, shared)
                except Exception:
                    log.exception("the traffic of %s could not be followed", name)
            await asyncio.sleep(FOLLOW_EVERY_S)

    async def _look(self, name: str, shared: Shared) -> None:
        """Take over what another gateway was asked, and have a runner hold what it does not: it may be a new one."""
        kept = await asyncio.to_thread(self._plans.read, name)
        if kept.serial != shared.traffic.kept.serial:
            shared.traffic.kept = kept
        wanted, status = shared.traffic.plan.versions, shared.runner.last_status
        if not status.ready or set(status.versions) == set(wanted):
            return
        refused, until = self._rests.get(name, ((), 0.0))
        if refused == wanted and time.monotonic() < until:
            return
        try:
            await shared.runner.hold(wanted)
        except (ArtifactError, RunnerError, TimeoutError) as error:
            # What is not held falls to the default version.
            log.error("%s does not hold versions %s: %s", name, ", ".join(wanted), error)
            self._rests[name] = (wanted, time.monotonic() + REST_S)
        else:
            self._rests.pop(name, None)


def _check(shared: Shared, plan: TrafficSplit) -> None:
    """Raise for a version that is not in the store, and for shares between versions that no request fits all of."""
    columns: dict[str, set[tuple[str, str]]] = {}
    for version in plan.versions:
        where: tuple[str, ...] = ("body", "weights", version) if version in plan.weights else ("body", "shadow")
        try:
            card = shared.card(version)
        except ArtifactMissing as error:
            raise NotKnown(str(error), location=where) from error
        except ArtifactError as error:
            raise ReloadRefused(f"{error}; the traffic is as it was") from error
        # What a table's version takes is what a request has to be; the other models take the same of all.
        if plan.weights.get(version) and card.task.startswith("tabular"):
            columns[version] = {(column.name, column.kind) for column in card.inputs}
    first, *others = columns.items() or (("", set()),)
    for version, found in others:
        if found != first[1]:
            differ = ", ".join(sorted({name for name, _ in found ^ first[1]})[:10])
            raise ReloadRefused(
                f"versions '{first[0]}' and '{version}' differ in what they take ({differ}), so no request fits both"
            )

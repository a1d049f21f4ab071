"""One served model: its runner, its versions and the router of requests among them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from models.card import Card
from models.errors import RunnerUnavailable, VersionNotLoaded
from serving.context import deadline, elapsed_ms
from serving.runners.interface import ModelRef, ModelRunner, Payload, RunnerResponse
from serving.versions.router import RoutingDecision, VersionRouter
from serving.versions.shadow_comparison import Comparison


class ModelVersion(Protocol):
    """One version of a model as the gateway uses it: its card, and whatever its kind makes from it."""

    @property
    def card(self) -> Card: ...


V = TypeVar("V", bound=ModelVersion)


@dataclass(frozen=True, slots=True)
class Result(Generic[V]):
    """The values that a runner returned for one payload, and the version that computed them."""

    values: Any  # Any: typed by the kind of the model
    version: V
    model: ModelRef
    elapsed_ms: float


# The payload of a request for one version, or None where nothing is left to send.
Encode = Callable[[V], Awaitable[Payload | None]]
# Compares the result with the one of the shadow version.
Compare = Callable[[Result[V], Result[V]], Comparison]


class ServedModel(Generic[V]):
    """A named model of the service.

    `version` returns what belongs to the version with a name; the empty name means the configured version.
    """

    def __init__(
        self,
        name: str,
        runner: ModelRunner,
        version: Callable[[str], V],
        router: VersionRouter,
        *,
        timeout_s: float,
        path_name: str = "",
    ) -> None:
        self.name = name
        # Its name in paths below /v1/models; `name` may be that of its kind.
        self.path_name = path_name or name
        self.runner = runner
        self.router = router
        self.timeout_s = timeout_s
        self._version = version

    @property
    def default(self) -> ModelRef | None:
        """The model that answers by default, as the runner last reported it."""
        return self.runner.last_status.model

    @property
    def current(self) -> V:
        """The version that answers by default; the configured one before the runner has reported."""
        model = self.default
        return self._version(model.version if model is not None else "")

    @property
    def card(self) -> Card:
        """The card of the version that answers by default."""
        return self.current.card

    @property
    def is_plain(self) -> bool:
        """Whether the runner is ready and every request that names no version goes to the default one."""
        return self.runner.last_status.ready and self.router.is_plain

    def version(self, name: str) -> V:
        """Return what belongs to the version `name`, or to the default one for an empty name."""
        return self._version(name) if name else self.current

    def chosen(self) -> V:
        """Return the version that answers the current request. Raises NotKnown as `VersionRouter.choose` does."""
        return self.version(self.router.choose().version)

    def answering(self) -> ModelRef | None:
        """Return the model that answers the current request, if it is known. Raises as `VersionRouter.choose`."""
        return self.router.model(self.default)

    async def call(
        self,
        encode: Encode[V],
        *,
        method: str = "",
        user_id: str = "",
        requests: int = 1,
        compare: Compare[V] | None = None,
    ) -> Result[V] | None:
        """Send a payload to the version that the router chooses, and return the result; None for no payload.

        Where that version is no longer loaded, encode for the default version and send once more. `user_id` keeps one
        user on one version, `requests` is the number of requests in the payload, and `compare` is called with the
        result of the shadow version where there is one. Raises what `encode` raises, NotKnown, RunnerUnavailable,
        Overloaded, DeadlineExceeded, PredictionFailed.
        """
        decision = self.router.choose(user_id)
        try:
            result = await self._send(decision, encode, method, requests)
        except VersionNotLoaded:
            decision = self.router.fall_back(decision)
            await self.runner.status(timeout_s=self.timeout_s)
            try:
                result = await self._send(decision, encode, method, requests)
            except VersionNotLoaded as error:
                raise RunnerUnavailable("the version changed while the request was answered") from error
        if result is not None and compare is not None and self.router.split.shadow:
            self._shadow(result, encode, compare)
        return result

    async def _send(self, decision: RoutingDecision, encode: Encode[V], method: str, requests: int) -> Result[V] | None:
        default = self.default
        name = decision.version or (default.version if default is not None else "")
        if not name:
            raise RunnerUnavailable()
        version = self._version(name)
        payload = await encode(version)
        if payload is None:
            return None
        started = time.perf_counter()
        sent = self.runner.predict(payload, deadline=deadline(self.timeout_s), version=name, method=method)
        response = await self.router.measure(decision, sent, requests=requests)
        return Result(response.values, version, response.model, elapsed_ms(started))

    def _shadow(self, result: Result[V], encode: Encode[V], compare: Compare[V]) -> None:
        async def compare_with(name: str) -> Comparison:
            version = self._version(name)
            payload = await encode(version)
            if payload is None:
                raise RunnerUnavailable("the shadow version reads no part of the request")
            response: RunnerResponse = await self.runner.predict(
                payload, deadline=time.monotonic() + self.timeout_s, version=name, is_low_priority=True
            )
            return compare(result, Result(response.values, version, response.model, 0.0))

        self.router.shadow(result.model.version, compare_with)

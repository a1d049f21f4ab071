"""A runner of one model in the process of a test, with the batch methods of a real one."""

from __future__ import annotations

from functools import partial
from typing import Any

from serving.context import current_request_id
from serving.kinds.interface import Kind
from serving.runners.host.batch_method import BatchMethod
from serving.runners.host.loaded_versions import Predictor, model_ref
from serving.runners.interface import Payload, RunnerResponse, RunnerStatus
from serving.runners.wire import WireRequest, WireResponse


class LocalRunner:
    """Answers with `predictor`. Has the methods of a `ModelRunner`."""

    def __init__(self, kind: Kind[Any], predictor: Predictor) -> None:
        self.name = kind.alias
        self.model = model_ref(predictor.artifact)
        self._default = next(iter(kind.methods))
        self._methods = {
            name: BatchMethod(partial(spec.call, predictor), last_used=lambda: self.model, name=f"{self.name}.{name}")
            for name, spec in kind.methods.items()
        }

    @property
    def last_status(self) -> RunnerStatus:
        """The status of a runner that is ready."""
        return RunnerStatus(ready=True, model=self.model)

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        """Return the status."""
        return self.last_status

    async def predict(
        self,
        payload: Payload,
        *,
        deadline: float,
        version: str = "",
        method: str = "",
        is_low_priority: bool = False,
    ) -> RunnerResponse:
        """Answer all rows of `payload`. Raises as `ModelRunner.predict`."""
        request = WireRequest(payload, len(payload), current_request_id(), deadline, version=version)
        (result,) = await self._methods[method or self._default].run([request])
        if isinstance(result, WireResponse):
            return RunnerResponse(result.payload, result.model)
        raise result

    def close(self) -> None:
        """End the threads."""
        for method in self._methods.values():
            method.close()

"""The models of one runner: loaded, replaced, failed and unloaded by name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from models.errors import ArtifactInvalid, ArtifactMissing
from serving.runners.client.local import LocalClient, LocalRunner, host
from serving.runners.host.instance import RunnerInstance
from serving.runners.host.models import HostedModels
from serving.runners.wire import WireRequest, WireResponse
from tests.serving.event_loop import in_loop, until
from tests.serving.runners.sum_predictors import WAIT, SumsRunner


class Factory:
    """Creates runners of sums by an entry, and counts them."""

    def __init__(self) -> None:
        self.created: list[SumsRunner] = []

    def __call__(self, spec: Mapping[str, Any]) -> RunnerInstance:
        if spec["artifact"] == "missing":
            raise ArtifactMissing("no artifact 'missing' in the model store")
        if spec["artifact"] == "broken":
            raise ValueError("the secret at /var/lib/secret")
        self.created.append(SumsRunner())
        return host(self.created[-1], ["predict"], name=spec["artifact"], threads=1)


def request(first: float) -> WireRequest:
    return WireRequest(np.full((1, 3), first, np.float32), 1, "r", time.monotonic() + 60)


@pytest.mark.slow
@in_loop
async def test_a_model_that_cannot_be_loaded_at_the_start_does_not_stop_the_others() -> None:
    models = HostedModels(Factory())
    for name in ("good", "missing", "broken"):
        models.add(name, {"artifact": name})
    await models.warm_up()
    statuses = models.statuses()
    assert [statuses[name].ready for name in ("good", "missing", "broken")] == [True, False, False]
    assert statuses["missing"].detail == "no artifact 'missing' in the model store"
    assert statuses["broken"].detail == "'broken' could not be loaded or warmed up"
    assert models.status.ready
    assert not models.is_ready
    models.close()


@pytest.mark.slow
@in_loop
async def test_the_same_entry_is_loaded_once_and_another_replaces_it() -> None:
    factory = Factory()
    models = HostedModels(factory)
    await models.warm_up()
    first = await models.load("sums", {"artifact": "a"})
    assert await models.load("sums", {"artifact": "a"}) is first
    second = await models.load("sums", {"artifact": "b"})
    assert second is models.get("sums")
    assert second is not first
    assert len(factory.created) == 2
    for name, error in (("missing", ArtifactMissing), ("broken", ArtifactInvalid)):
        with pytest.raises(error) as raised:
            await models.load("sums", {"artifact": name})
        assert "secret" not in str(raised.value)
    assert models.get("sums") is second
    models.close()


@pytest.mark.slow
@in_loop
async def test_an_unload_waits_for_calls_in_flight() -> None:
    factory = Factory()
    models = HostedModels(factory)
    runner = LocalRunner(lambda: models)
    client = LocalClient(runner, method="predict", model="sums")
    client.start()
    await client.status(timeout_s=60)
    await runner.load("sums", {"artifact": "a"}, timeout_s=60)
    assert runner.loaded() == {"sums"}
    call = asyncio.create_task(client.call([request(WAIT)]))
    await until(lambda: len(factory.created[0].model.predictor.calls) > 6)
    unload = asyncio.create_task(runner.unload("sums", timeout_s=60))
    await asyncio.sleep(0.05)
    assert not unload.done()
    factory.created[0].model.predictor.gate.set()
    (result,) = await call
    assert isinstance(result, WireResponse)
    await unload
    assert runner.loaded() == frozenset()
    assert client.last_status.detail == "the runner does not have this model"
    await client.stop()


@in_loop
async def test_a_runner_of_one_model_takes_no_other() -> None:
    models = HostedModels.of(host(SumsRunner(), ["predict"], name="sums", threads=1))
    with pytest.raises(ArtifactInvalid, match="one model"):
        await models.load("other", {"artifact": "a"})
    assert models.get("") is not None
    assert models.get("other") is None
    models.close()

"""Tests of the user's steps around the models of a runner's process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from models.errors import ArtifactInvalid, PredictionFailed, SettingsInvalid
from serving.bento.hosting import ModelHost
from serving.bento.model_settings import check_steps
from serving.kinds.registry import KINDS, ServiceSettings
from serving.runners.host.instance import RunnerInstance
from serving.runners.wire import WireRequest, WireResponse
from serving.settings.model_list import ModelEntry
from serving.versions.state import DeploymentState
from tests.models.python.example_artifacts import saved

MODULE = "tests.serving.bento.test_steps"
Rows = list[dict[str, Any]]


class Stripped:
    def apply(self, batch: Rows) -> Rows:
        return [{"instance": row["instance"].strip()} for row in batch]


class Negative:
    def apply(self, batch: Rows) -> Rows:
        return [{"prediction": -row["prediction"]} for row in batch]


class Short:
    def apply(self, batch: Rows) -> Rows:
        return batch[1:]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelHost:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    saved("Length", tmp_path / "models", name="length")
    return ModelHost(
        KINDS,
        ServiceSettings(state_folder=str(tmp_path / "state")),
        DeploymentState(tmp_path / "state"),
        source=tmp_path,
        name="runner",
        threads=1,
        may_block=True,
    )


def answer(instance: RunnerInstance, *texts: str) -> list[Any]:
    async def run() -> list[Any]:
        rows = [{"instance": text} for text in texts]
        (result,) = await instance.methods["predict"].run([WireRequest(rows, len(rows), "id", float("inf"))])
        if isinstance(result, WireResponse):
            return [row["prediction"] for row in result.payload]
        raise result

    return asyncio.run(run())


def entry(**keys: Any) -> dict[str, Any]:
    return ModelEntry(name="length", artifact="length", **keys).spec()


def test_steps_run_around_the_model_of_an_entry(host: ModelHost) -> None:
    assert answer(host.create(entry()), " four ") == [6]
    both = host.create(entry(preprocess=f"{MODULE}:Stripped", postprocess=f"{MODULE}:Negative"))
    assert answer(both, " four ", "a") == [-4, -1]


def test_a_step_that_is_not_there_keeps_the_model_from_loading(host: ModelHost) -> None:
    with pytest.raises(ArtifactInvalid, match="no class 'Gone'"):
        host.create(entry(preprocess=f"{MODULE}:Gone"))


def test_steps_do_not_run_in_the_gateway() -> None:
    keys: dict[str, Any] = {"name": "length", "artifact": "length", "preprocess": f"{MODULE}:Stripped"}
    check_steps(ModelEntry(**keys))
    with pytest.raises(SettingsInvalid, match="model 'length' has steps"):
        check_steps(ModelEntry(**keys, placement="inline"))


def test_a_step_that_loses_rows_makes_no_model_ready(host: ModelHost) -> None:
    broken = host.create(entry(preprocess=f"{MODULE}:Short"))
    asyncio.run(broken.warm_up())
    assert not broken.status.ready
    with pytest.raises(PredictionFailed):
        answer(broken, "a", "b")

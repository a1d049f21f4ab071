"""An unloaded model of any kind leaves no object in the process of a runner."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from serving.bento.hosting import ModelHost
from serving.kinds.registry import KINDS, ServiceSettings
from serving.runners.host.instance import RunnerInstance
from serving.settings.model_list import ModelEntry
from serving.versions.state import DeploymentState
from tests.models.python.example_artifacts import saved
from training import save

pytestmark = pytest.mark.slow

TEXTS = ["good film", "bad film", "good book", "bad book"]


def _saved_text(store: Path) -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, ["a", "b", "a", "b"])
    save(model, TEXTS, name="text", store=store)


MADE: Mapping[str, Callable[[Path], object]] = {
    "text": _saved_text,
    "python": lambda store: saved("Length", store, name="python"),
}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelHost:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    state = tmp_path / "state"
    return ModelHost(
        KINDS,
        ServiceSettings(feedback_url=f"sqlite:///{tmp_path}/feedback.db", state_folder=str(state)),
        DeploymentState(state),
        source=tmp_path,
        name="runner",
        threads=1,
        may_block=True,
    )


@pytest.mark.parametrize("name", [kind.alias for kind in KINDS])
def test_an_unloaded_model_leaves_no_object(
    name: str, host: ModelHost, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = tmp_path / "models"
    if name in MADE:
        store.mkdir()
        MADE[name](store)
    else:
        shutil.copytree(request.getfixturevalue(f"{name}_store") / name, store / name, symlinks=True)

    async def load_and_unload() -> list[weakref.ref[Any]]:
        models = host.hosted({})
        instance = await models.load(name, ModelEntry(name=name, artifact=name).spec())
        seen = [weakref.ref(instance), weakref.ref(predictor_of(instance))]
        del instance
        await models.unload(name)
        return seen

    seen = asyncio.run(load_and_unload())
    gc.collect()
    assert [each() for each in seen] == [None, None]


def predictor_of(instance: RunnerInstance) -> Any:
    return instance._model.predictor

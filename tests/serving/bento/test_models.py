"""What an entry means: its kind, its settings, its runner; and the models of a service from a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.errors import ArtifactMissing, SettingsInvalid
from models.store.artifact_cache import ArtifactCache
from serving.bento.memory_check import check_memory
from serving.bento.model_settings import KeyInvalid, kind_of, model_settings
from serving.bento.models import BentoModels
from serving.kinds.registry import KINDS, ServiceSettings
from serving.process.bounds import RunnerBounds
from serving.settings.model_list import ModelEntry
from serving.versions.state import DeploymentState, EntryChange

BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.fixture
def home(tabular_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENTOML_HOME", str(tabular_store.parent))
    return tabular_store.parent


def entry(**options: Any) -> ModelEntry:
    return ModelEntry(name="churn", artifact="tabular", options=options)


def test_an_entry_changes_the_settings_of_its_model_alone() -> None:
    settings = ServiceSettings(max_rows=7)
    changed = model_settings(BY_NAME["tabular"], entry(max_queue_rows=5), settings)
    assert isinstance(changed, ServiceSettings)
    assert (changed.max_queue_rows, changed.max_rows, settings.max_queue_rows) == (5, 7, 4096)
    image = model_settings(BY_NAME["image-classifier"], entry(device="cpu", calls_in_flight=3), settings)
    assert isinstance(image, ServiceSettings)
    assert (image.image_device, image.image_calls_in_flight) == ("cpu", 3)


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("tabular", {"max_queue_row": 5}, "did you mean 'max_queue_rows'?"),
        ("tabular", {"device": "cpu"}, "unknown key 'device' of a model of kind tabular"),
        ("image-classifier", {"device": "tpu"}, "device: String should match"),
        ("tabular", {"max_queue_rows": -1}, "max_queue_rows: Input should be greater than 0"),
        ("tabular", {"gateways": 2}, "unknown key 'gateways'"),
        ("recommender", {"model": "x"}, "unknown key 'model'"),
    ],
)
def test_an_option_that_is_wrong_is_named(kind: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(KeyInvalid) as error:
        model_settings(BY_NAME[kind], entry(**options), ServiceSettings())
    assert says in str(error.value)
    assert error.value.key in options


def test_each_recommender_has_a_feedback_log_of_its_own() -> None:
    settings = ServiceSettings(feedback_url="sqlite:////srv/all.db")
    kind = BY_NAME["recommender"]
    logs = {
        name: model_settings(kind, ModelEntry(name=name, artifact="x"), settings).feedback_url  # type: ignore[attr-defined]
        for name in ("recommender", "books", "films")
    }
    assert logs["recommender"] == "sqlite:////srv/all.db"
    assert logs["books"].endswith("/makunouchi/feedback-books.db")
    assert len(set(logs.values())) == 3


def test_the_kind_is_that_of_the_card(home: Path) -> None:
    artifacts = ArtifactCache("tabular", code=home, served_as="churn")
    assert kind_of(entry(), artifacts, KINDS).name == "tabular"
    assert artifacts.find().card.name == "churn"
    for kind, says in (("recommender", "has the task"), ("nothing", "there is no kind 'nothing'; known: image")):
        with pytest.raises(KeyInvalid, match=says):
            kind_of(ModelEntry(name="churn", artifact="tabular", kind=kind), artifacts, KINDS)
    with pytest.raises(ArtifactMissing):
        kind_of(entry(), ArtifactCache("absent", code=home), KINDS)


def test_models_whose_files_are_larger_than_the_memory_are_refused(home: Path) -> None:
    artifacts = [ArtifactCache("tabular", code=home)]
    check_memory(artifacts, what="the model list")
    with pytest.raises(SettingsInvalid, match=r"the model list: the files of the models have .* GiB"):
        check_memory(artifacts, what="the model list", usable_bytes=1000)


def built(home: Path, folder: Path, text: str) -> BentoModels:
    file = folder / "models.toml"
    file.write_text(text)
    settings = ServiceSettings(models_file=str(file), state_folder=str(folder / "state"))
    state = DeploymentState(folder / "state")
    return BentoModels(KINDS, settings, state, source=folder, module=__name__)


LIST = """
[churn]
artifact = "tabular"
[shops]
artifact = "tabular"
runner = "shops"
[inside]
artifact = "tabular"
placement = "inline"
[absent]
artifact = "absent"
"""


def test_models_share_the_runner_of_their_kind_unless_they_name_another(home: Path, tmp_path: Path) -> None:
    models = built(home, tmp_path, LIST)
    assert list(models.by_name) == ["churn", "shops", "inside"]
    assert {runner.service.name: runner.models for runner in models.runners} == {
        "TabularRunner": {"churn"}, "ShopsRunner": {"shops"}, "TabularRunner2": {"inside"},
    }  # fmt: skip
    assert "no artifact 'absent' in the model store" in models.failed["absent"].reason
    assert models.fault() == ""
    assert [tag.partition(":")[0] for tag, _ in models.pins()] == ["tabular"]


def test_each_process_of_a_runner_is_a_service_that_the_gateway_reaches(home: Path, tmp_path: Path) -> None:
    models = built(home, tmp_path, "[churn]\nartifact = 'tabular'\nreplicas = 3\n[other]\nartifact = 'tabular'\n")
    names = {
        runner.service.name: [placed.on.name for placed in runner.dependencies if placed.on is not None]
        for runner in models.runners
    }
    # Models of one process have the same number of processes.
    assert names == {
        "TabularRunner": ["TabularRunner", "TabularRunner_2", "TabularRunner_3"], "TabularRunner2": ["TabularRunner2"],
    }  # fmt: skip
    assert [models.by_name[name].handle.limits.calls_in_flight for name in ("churn", "other")] == [3, 1]


def test_replicas_need_processes_of_their_own(home: Path, tmp_path: Path) -> None:
    text = "[a]\nartifact = 'tabular'\nplacement = 'inline'\nreplicas = 2\n"
    with pytest.raises(SettingsInvalid, match=r"line 4, \[a\]: replicas need the placement 'process', not 'inline'"):
        built(home, tmp_path, text)


def test_a_runner_has_the_bounds_of_its_entry(home: Path, tmp_path: Path) -> None:
    text = (
        "[a]\nartifact = 'tabular'\nmax_memory_bytes = 1000000000\nthreads = 1\ncpus = [0]\n[b]\nartifact = 'tabular'\n"
    )
    bounds = {runner.service.name: runner.service.bounds for runner in built(home, tmp_path, text).runners}
    assert bounds["TabularRunner"] == RunnerBounds(1_000_000_000, 1, (0,))
    assert bounds["TabularRunner2"] == RunnerBounds()


def test_a_wrong_option_ends_the_start_with_its_line(home: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"models.toml, line 3, \[a\]: unknown key 'max_row'.* 'max_rows'"):
        built(home, tmp_path, "[a]\nartifact = 'tabular'\nmax_row = 3\n")


def test_changes_at_run_time_apply_until_the_list_changes(home: Path, tmp_path: Path) -> None:
    models = built(home, tmp_path, LIST)
    state = DeploymentState(tmp_path / "state")
    churn = models.by_name["churn"].entry
    state.set_entry("churn", EntryChange(None, churn.spec()))
    state.set_entry("added", EntryChange(ModelEntry(name="added", artifact="tabular").spec(), None))
    assert [each.name for each in built(home, tmp_path, LIST).desired()] == ["shops", "inside", "absent", "added"]
    changed = LIST.replace("[churn]\n", "[churn]\nrequired = false\n")
    assert [each.name for each in built(home, tmp_path, changed).desired()] == [
        "churn", "shops", "inside", "absent", "added",
    ]  # fmt: skip


def test_models_have_one_order_in_every_gateway_and_after_a_restart(home: Path, tmp_path: Path) -> None:
    """The first model of a kind answers the operations of the kind, so the order must not depend on the gateway."""
    text = "[b]\nartifact = 'tabular'\n[a]\nartifact = 'tabular'\n"
    gateways = [built(home, tmp_path, text) for _ in range(2)]
    state = DeploymentState(tmp_path / "state")
    base = gateways[0].by_name["b"].entry.spec()
    added = [ModelEntry(name=name, artifact="tabular", placement="inline") for name in ("z", "y")]
    for entry in added:
        state.set_entry(entry.name, EntryChange(entry.spec(), None))
    state.set_entry("b", EntryChange(None, base))
    state.set_entry("b", EntryChange(base, base))

    expected = ["b", "a", "z", "y"]
    restarted = built(home, tmp_path, text)
    assert [each.name for each in restarted.desired()] == expected
    for models, order in zip(gateways, (["z", "y", "b"], ["b", "y", "z"]), strict=True):
        models.desired()
        for name in order:
            models.remove(name)
            models.add(restarted.by_name[name])
        assert list(models.by_name) == list(models.current_handlers()) == expected
        assert models.in_order(["unknown", "y", "b"]) == ["b", "y", "unknown"]


def test_a_saved_entry_that_is_not_valid_leaves_the_configured_one(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "[b]\nartifact = 'tabular'\n[a]\nartifact = 'tabular'\n"
    base = built(home, tmp_path, text).by_name["b"].entry.spec()
    DeploymentState(tmp_path / "state").set_entry("b", EntryChange({"unknown": 1}, base))
    models = built(home, tmp_path, text)
    assert [entry.spec() for entry in models.desired()] == [base, models.by_name["a"].entry.spec()]
    assert "the saved entry of b is not valid and is ignored" in caplog.text

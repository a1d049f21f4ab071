"""Sources in a model registry of MLflow, on a server that speaks its REST API. `tests/live` has the real one."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from models.errors import ArtifactInvalid, ArtifactMissing, SettingsInvalid
from models.store.artifacts import verify
from models.store.sources.fetch import fetch
from models.store.sources.mlflow import MlflowSource
from models.store.sources.resolve import resolve
from models.store.sources.source import SourceOptions
from tests.models.store.forbidden_formats import FORBIDDEN, refused, spoil
from tests.models.store.sources.conftest import FAST, save_artifact
from tests.models.store.sources.web_server import Fault, Request, WebServer

API = "/api/2.0/mlflow"


class Registry:
    """The registered model `churn`: versions with the place of their files, and aliases."""

    def __init__(self, site: WebServer) -> None:
        self.site = site
        self.versions: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        site.answers[f"{API}/registered-models/alias"] = self._alias
        site.answers[f"{API}/model-versions/get-download-uri"] = self._place

    def add(self, version: str, folder: Path) -> None:
        self.site.add_folder(folder, f"/api/2.0/mlflow-artifacts/artifacts/7/churn v{version}")
        self.versions[version] = f"mlflow-artifacts:/7/churn v{version}"

    def _alias(self, request: Request) -> tuple[int, bytes]:
        version = self.aliases.get(_query(request, "alias"), "")
        if _query(request, "name") != "churn":
            return 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}'
        if not version:
            return 400, b'{"error_code": "INVALID_PARAMETER_VALUE"}'
        return 200, json.dumps({"model_version": {"name": "churn", "version": version}}).encode()

    def _place(self, request: Request) -> tuple[int, bytes]:
        uri = self.versions.get(_query(request, "version"))
        return (404, b"{}") if uri is None else (200, json.dumps({"artifact_uri": uri}).encode())


def _query(request: Request, name: str) -> str:
    return parse_qs(urlsplit(request.path).query)[name][0]


@pytest.fixture
def registry(site: WebServer, store: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    for name in ("REGISTRY_URI", "TRACKING_TOKEN", "TRACKING_USERNAME", "TRACKING_PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_{name}", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", site.url)
    return Registry(site)


@pytest.mark.parametrize("form", ["models:/churn@champion", "models:/churn/3", "mlflow://{host}/churn@champion"])
def test_a_registered_version(artifact: Path, registry: Registry, form: str) -> None:
    registry.add("3", artifact)
    registry.aliases["champion"] = "3"
    source = form.format(host=registry.site.url.removeprefix("http://"))
    fetched = fetch(source, name="churn", options=FAST)
    verify(fetched)
    registry.site.requests.clear()
    assert fetch(source, name="churn", options=FAST) == fetched
    assert len(registry.site.requests) == (0 if source.endswith("/3") else 1)


def test_an_alias_that_moves_is_noticed(artifact: Path, registry: Registry, tmp_path: Path) -> None:
    registry.add("3", artifact)
    registry.add("4", save_artifact(tmp_path / "next", seed=1))
    registry.aliases["champion"] = "3"
    first = fetch("models:/churn@champion", name="churn", options=FAST)
    registry.aliases["champion"] = "4"
    second = fetch("models:/churn@champion", name="churn", options=FAST)
    assert second.version != first.version
    registry.aliases["champion"] = "3"
    assert fetch("models:/churn@champion", name="churn", options=FAST) == first


def test_files_in_a_folder_of_this_machine(artifact: Path, registry: Registry) -> None:
    for place in (artifact.as_posix(), f"file://{artifact}"):
        registry.versions["1"] = place
        verify(fetch("models:/churn/1", name="churn", options=FAST))


def test_a_server_elsewhere_names_no_folder_of_this_machine(artifact: Path) -> None:
    source = MlflowSource("models:/churn/1", FAST, environment={"MLFLOW_TRACKING_URI": "https://mlflow.example"})
    source._ask = lambda *args, **query: artifact.as_posix()  # type: ignore[method-assign]
    with pytest.raises(SettingsInvalid, match="are at a folder of its server; supported are mlflow-artifacts: and s3:"):
        _ = source._files
    source.close()


def test_files_in_a_store_that_is_not_supported(registry: Registry) -> None:
    registry.versions["1"] = "gs://bucket/churn"
    with pytest.raises(SettingsInvalid, match=r"are at gs:; supported are mlflow-artifacts: and s3:"):
        fetch("models:/churn/1", name="churn", options=FAST)


def test_an_interrupted_fetch_is_continued(artifact: Path, registry: Registry) -> None:
    registry.add("3", artifact)
    path = "/api/2.0/mlflow-artifacts/artifacts/7/churn v3/weights.npy"
    registry.site.faults[path] = Fault(end_after=100_000)
    verify(fetch("models:/churn/3", name="churn", options=FAST))
    assert [request.start for request in registry.site.of(path)] == [0, 100_000]


@pytest.mark.parametrize("source", ["models:/churn@unknown", "models:/other@champion", "models:/churn/9"])
def test_a_model_a_version_or_an_alias_that_is_not_there(registry: Registry, source: str) -> None:
    registry.aliases["champion"] = "3"
    with pytest.raises(ArtifactMissing, match="there is no"):
        fetch(source, name="churn", options=FAST)


def test_a_registry_that_is_away_leaves_the_version_that_came_from_it(
    artifact: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add("3", artifact)
    registry.aliases["champion"] = "3"
    version = resolve("models:/churn@champion", name="churn", options=FAST)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    once = SourceOptions(timeout_s=1, attempts=1)
    assert resolve("models:/churn@champion", name="churn", options=once) == version
    # Also when the setting is lost.
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert resolve("models:/churn@champion", name="churn", options=once) == version


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({"TOKEN": "t0ken"}, "Bearer t0ken"),
        ({"USERNAME": "anna", "PASSWORD": "s3cret"}, "Basic YW5uYTpzM2NyZXQ="),
    ],
)
def test_credentials_are_those_of_the_client_of_mlflow(
    artifact: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variables: dict[str, str],
    header: str,
) -> None:
    caplog.set_level(0)
    for name, value in variables.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    registry.add("3", artifact)
    for path in [path for path in registry.site.files if path.endswith("weights.npy")]:
        del registry.site.files[path]
    with pytest.raises(ArtifactMissing) as caught:
        fetch("models:/churn/3", name="churn", options=FAST)
    assert {request.headers["Authorization"] for request in registry.site.requests} == {header}
    assert not any(secret in caplog.text + str(caught.value) for secret in ("t0ken", "s3cret", "YW5u"))


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"{}", b'{"artifact_uri": ' + b"[" * 9999, b" " * (2 << 20)])
def test_a_server_that_is_not_mlflow(registry: Registry, answer: bytes) -> None:
    registry.site.answers[f"{API}/model-versions/get-download-uri"] = lambda request: (200, answer)
    with pytest.raises(ArtifactInvalid, match="does not answer as MLflow does"):
        fetch("models:/churn/1", name="churn", options=FAST)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("models:/", "a source of MLflow is"),
        ("models:/churn", "a source of MLflow is"),
        ("models:/churn/Production", "a source of MLflow is"),
        ("mlflow://127.0.0.1", "a source of MLflow is"),
        ("mlflow://", "with a host"),
    ],
)
def test_a_malformed_source_is_named(registry: Registry, source: str, message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        fetch(source, name="churn", options=FAST)


@pytest.mark.parametrize("address", ["", "sqlite:///mlflow.db", "databricks"])
def test_a_source_without_a_server_names_the_variable(
    store: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(SettingsInvalid, match="needs the address of its server in MLFLOW_TRACKING_URI"):
        fetch("models:/churn@champion", name="churn", options=FAST)


def test_a_server_elsewhere_is_asked_over_tls() -> None:
    source = MlflowSource("mlflow://anna:s3cret@mlflow.example:8443/churn@champion", FAST)
    assert str(source._server) == "https://mlflow.example:8443"
    assert source.label == "mlflow://mlflow.example:8443/churn@champion"
    source.close()


def test_formats_that_may_run_code_are_refused(artifact: Path, store: Path, registry: Registry) -> None:
    for file in FORBIDDEN:
        spoil(artifact, file)
        registry.add("3", artifact)
        with refused(store, file):
            fetch("models:/churn/3", name="churn", options=FAST)

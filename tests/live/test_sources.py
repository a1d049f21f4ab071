"""Models from sources: the real service with one, and the real server of MLflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.errors import ArtifactMissing
from models.store.artifacts import MANIFEST_FILE, file_sha256, find, verify
from models.store.sources.fetch import fetch
from models.store.sources.resolve import newer
from tests.fixtures_default import own_home
from tests.live.installed import installed
from tests.live.server import free_port, serving, wait_for
from tests.live.test_runner_loss import tabular_example
from tests.models.store.sources.conftest import save_artifact
from tests.models.store.sources.web_server import web_server

pytestmark = pytest.mark.live

# Its server needs other package versions, so it has a separate cached virtual environment.
MLFLOW = "mlflow==3.17.2"
INSTALL_TIMEOUT_S = 400
START_S = 120.0


def test_fetches_models_at_its_start(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Also without the source, when a version of it is there."""
    home = own_home(default_home, tmp_path_factory)
    exported = home / "credit.tar.gz"
    with tarfile.open(exported, "w:gz") as archive:
        archive.add(find("tabular", store=home / "models").folder, arcname=".")
    version = file_sha256(find("tabular", store=home / "models").folder / MANIFEST_FILE)[:16]
    shutil.rmtree(home / "models" / "tabular")
    env = {
        "BENTOML_HOME": str(home),
        **{f"MAKUNOUCHI_{kind}_PLACEMENT": "inline" for kind in ("IMAGE", "TABULAR", "RECOMMENDER")},
    }

    with web_server() as site:
        site.files["/credit.tar.gz"] = exported.read_bytes()
        env["MAKUNOUCHI_TABULAR_MODEL"] = f"{site.url}/credit.tar.gz?sig=s3cret"
        with serving("service:Gateway", env=env) as server:
            answer = server.post("/v1/tabular/predict", json={"instances": [tabular_example(server)]})
            assert answer.status_code == 200, answer.text
            assert answer.json()["model"]["version"] == version
            assert "s3cret" not in server.log
        # The parent process alone transfers it.
        assert site.paths() == ["/credit.tar.gz?sig=s3cret"]

    with serving("service:Gateway", env=env) as server:
        answer = server.post("/v1/tabular/predict", json={"instances": [tabular_example(server)]})
        assert answer.json()["model"]["version"] == version
        assert f"tabular:{version} is used, which came from it earlier" in server.log
        assert "s3cret" not in server.log


def test_a_start_ends_with_one_line_when_the_source_has_nothing(
    default_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = own_home(default_home, tmp_path_factory)
    with web_server() as site:
        env = {"BENTOML_HOME": str(home), "MAKUNOUCHI_TABULAR_MODEL": f"{site.url}/nothing"}
        with serving("service:Gateway", env=env, wait=False) as server:
            assert server.process.wait(START_S) != 0
            line = f"error: there is no 'manifest.json' of source '{site.url}/nothing'; check the address"
            assert line in server.log


@pytest.fixture(scope="module")
def mlflow() -> Iterator[str]:
    """The address of a server of MLflow, installed once. Skip with the installer's error if the installation fails."""
    yield from _running(installed(MLFLOW, timeout_s=INSTALL_TIMEOUT_S) / "mlflow")


def _running(program: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folder = Path(os.environ.get("TMPDIR") or "/tmp") / f"mlflow-{port}"  # noqa: S108
    folder.mkdir()
    command = [str(program), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
               "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: _answers(url) or process.poll() is not None, "the server of MLflow", timeout_s=START_S)
        assert process.poll() is None, (folder / "log").read_text()
        yield url
    finally:
        os.killpg(process.pid, 9)
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


def _call(url: str, method: str, **body: str) -> Any:  # Any: JSON
    response = httpx.post(f"{url}/api/2.0/mlflow/{method}", json=body, timeout=30)
    assert response.status_code == 200, response.text
    return response.json()


def _register(url: str, name: str, folder: Path) -> None:
    """Upload an artifact and register it as a version, as `log_artifacts` and `create_model_version` do."""
    run = _call(url, "runs/create", experiment_id="0")["run"]["info"]
    source = f"{run['artifact_uri']}/{name}"
    for path in folder.rglob("*"):
        if path.is_file():
            file = f"{source.removeprefix('mlflow-artifacts:/')}/{path.relative_to(folder).as_posix()}"
            address = f"{url}/api/2.0/mlflow-artifacts/artifacts/{file}"
            httpx.put(address, content=path.read_bytes(), timeout=30).raise_for_status()
    _call(url, "model-versions/create", name=name, source=source, run_id=run["run_id"])


def test_an_alias_of_the_registry_of_mlflow(mlflow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow)
    _call(mlflow, "registered-models/create", name="churn")
    for version in (1, 2):
        _register(mlflow, "churn", save_artifact(tmp_path / str(version), seed=version))
    _call(mlflow, "registered-models/alias", name="churn", alias="champion", version="1")

    first = fetch("models:/churn@champion", name="churn")
    verify(first)
    assert fetch("models:/churn/1", name="churn") == first
    assert fetch(mlflow.replace("http://", "mlflow://") + "/churn@champion", name="churn") == first
    assert not newer("models:/churn@champion", first)

    _call(mlflow, "registered-models/alias", name="churn", alias="champion", version="2")
    assert newer("models:/churn@champion", first)
    second = fetch("models:/churn@champion", name="churn")
    assert second.version != first.version
    for source in ("models:/churn@unknown", "models:/churn/9", "models:/other@champion"):
        with pytest.raises(ArtifactMissing, match=f"there is no '{source.removeprefix('models:/')}' of source"):
            fetch(source, name="churn")

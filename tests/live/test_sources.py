"""Models from sources: the real service with one, and the real server of MLflow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.errors import ArtifactMissing
from models.store.artifacts import find, verify
from models.store.manifest import MANIFEST_FILE, file_sha256
from models.store.sources.fetch import fetch
from tests.fixtures_default import own_home
from tests.live.installed import installed
from tests.live.server import BENTOML_SERVE, ROOT, Server, free_port, serving, wait_for
from tests.live.test_aliases import registry, save_newer
from tests.live.test_models import Load, example, in_both_gateways, predict
from tests.live.test_reload import ADMIN, KEYS
from tests.live.test_runner_loss import tabular_example
from tests.models.store.sources.authority import issue
from tests.models.store.sources.conftest import save_artifact
from tests.models.store.sources.web_server import Fault, WebServer, web_server

pytestmark = pytest.mark.live

# Its server needs other package versions, so it has a separate cached virtual environment.
MLFLOW = "mlflow==3.17.2"
INSTALL_TIMEOUT_S = 400
START_S = 120.0
# A read of a source that does not answer ends after 30 s.
STALLED_STOP_S = 20.0


LIST = """
[credit]
artifact = "{url}/credit.tar.gz?sig=s3cret"

[late]
artifact = "{url}/late"
required = false
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """A web server with a certificate of an own authority, and the folders of three versions of one model."""

    site: WebServer
    authority: Path
    folders: Sequence[Path]

    def version(self, number: int) -> str:
        """Return the version that a model from one of the folders has."""
        return file_sha256(self.folders[number] / MANIFEST_FILE)[:16]


@pytest.fixture(scope="module")
def origin(tabular_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    home = tmp_path_factory.mktemp("origin")
    shutil.copytree(tabular_store, home / "models")
    first, store = save_newer(home, "b", "c"), home / "models" / "tabular"
    authority, context = issue(tmp_path_factory.mktemp("authority"))
    with web_server(context) as site:
        origin = Origin(site, authority, [store / version for version in (first, "b", "c")])
        exported = home / "credit.tar.gz"
        with tarfile.open(exported, "w:gz") as archive:
            archive.add(origin.folders[0], arcname=".")
        site.files["/credit.tar.gz"] = exported.read_bytes()
        yield origin


def environment(origin: Origin, home: Path, models: str) -> dict[str, str]:
    """Return the settings of a service with the model list `models`, which trusts the authority of the origin."""
    (home / "models.toml").write_text(models.format(url=origin.site.url))
    return {
        "BENTOML_HOME": str(home),
        "MAKUNOUCHI_MODELS_FILE": str(home / "models.toml"),
        "MAKUNOUCHI_API_KEYS": KEYS,
        "SSL_CERT_FILE": str(origin.authority),
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BENTOML_HOME without a model."""
    return tmp_path_factory.mktemp("bentoml")


@pytest.fixture(scope="module")
def service(origin: Origin, home: Path) -> Iterator[Server]:
    """A service whose models all come from sources, with two gateways."""
    permitted = [f"{origin.site.url}/", f"file://{origin.folders[1].parent}"]
    env = {"MAKUNOUCHI_GATEWAYS": "2", "MAKUNOUCHI_SOURCE_PREFIXES": json.dumps(permitted)}
    with serving("service:Gateway", env=environment(origin, home, LIST) | env) as server:
        yield server


def answering(server: Server, model: str) -> set[str]:
    """Return the versions of a model that answer on new connections, which the gateways share."""
    responses = [predict(server, model, example(server, "credit")) for _ in range(10)]
    return {
        response.json()["model"]["version"] if response.status_code == 200 else str(response.status_code)
        for response in responses
    }


def put(server: Server, model: str, artifact: str, **more: object) -> httpx.Response:
    return server.request("PUT", f"/v1/models/{model}", json={"artifact": artifact, **more}, headers=ADMIN)


def faults(server: Server) -> set[str]:
    """Return what the gateways report of their sources."""
    reports = (server.get("/health", headers=ADMIN).json()["faults"] for _ in range(10))
    return {report.get("sources", "") for report in reports}


def test_fetches_models_at_its_start(service: Server, origin: Origin) -> None:
    assert answering(service, "credit") == {origin.version(0)}
    assert service.get("/readyz").status_code == 200
    # The parent process alone transfers it.
    assert origin.site.paths().count("/credit.tar.gz?sig=s3cret") == 1
    assert predict(service, "late", {}).status_code == 503


def reasons(server: Server, model: str) -> set[str]:
    """Return why a model is not served, as the gateways report it."""
    reports = (server.get("/v1/models", headers=ADMIN).json()["service"] for _ in range(10))
    return {each["reason"] for report in reports for each in report if each["name"] == model}


def wait_for_late(server: Server, origin: Origin) -> None:
    """Wait until both gateways have asked for the model that its source does not have, and name the reason."""
    reason = f"there is no 'manifest.json' of source '{origin.site.url}/late'; check the address"
    wait_for(lambda: reasons(server, "late") == {reason}, "both gateways name the reason")


def test_an_administrator_adds_models_from_sources(service: Server, origin: Origin) -> None:
    web, folder = origin.site.add_folder(origin.folders[0], "/shop"), f"file://{origin.folders[1]}"
    assert put(service, "shop", web, watch=True).status_code == 201
    assert put(service, "mounted", folder).status_code == 201
    for model, number in (("shop", 0), ("mounted", 1)):
        wait_for(lambda: answering(service, model) == {origin.version(number)}, "both gateways serve it")  # noqa: B023


def test_a_source_that_is_refused_changes_nothing(service: Server, origin: Origin, home: Path) -> None:
    site, store = origin.site, home / "models"
    wait_for_late(service, origin)
    before = listed(service), stored(store)
    site.add_folder(origin.folders[2], "/broken")
    (file,) = (path for path in site.files if path.startswith("/broken/") and path.endswith(".onnx"))
    site.files[file] = bytes(len(site.files[file]))
    site.add_folder(origin.folders[2], "/pickled")
    site.files["/pickled/manifest.json"] = site.files["/pickled/manifest.json"].replace(b".onnx", b".pkl")
    with Load(service, "shop", example(service, "credit")) as load:
        for artifact, status, says in (
            (f"{site.url}/broken", 409, "has another SHA-256 than its manifest says; nothing was saved"),
            (f"{site.url}/pickled", 409, "has a format that artifacts may not have"),
            (f"{site.url}/nothing", 404, "there is no 'manifest.json' of source"),
            ("https://127.0.0.1:1/shop", 409, "is not below one of MAKUNOUCHI_SOURCE_PREFIXES"),
            ("file:///etc", 409, "is not below one of MAKUNOUCHI_SOURCE_PREFIXES"),
            (f"file://{origin.folders[1]}/../../../..", 409, "is not below one of MAKUNOUCHI_SOURCE_PREFIXES"),
        ):
            for name in ("shop", "another"):
                refused = put(service, name, artifact)
                assert (refused.status_code, says in refused.json()["detail"]) == (status, True), refused.text
    assert set(load.statuses) == {200}
    assert (listed(service), stored(store)) == before
    assert answering(service, "shop") == {origin.version(0)}


def listed(server: Server) -> list[dict[str, Any]]:  # Any: JSON
    """Return the models of the service, which every gateway lists in the same order."""
    first, *others = (server.get("/v1/models", headers=ADMIN).json()["service"] for _ in range(10))
    assert others == [first] * len(others)
    return list(first)


def stored(store: Path) -> list[str]:
    """Return the versions in a store, and what a fetch has left next to it."""
    versions = [path.relative_to(store).as_posix() for path in store.glob("*/*")]
    return sorted([*versions, *(path.name for path in store.parent.glob(".staging-*"))])


def test_follows_a_source_under_load(service: Server, origin: Origin, capsys: pytest.CaptureFixture[str]) -> None:
    """A new version is served without a restart; a source that is away then changes nothing, and is named."""
    site, source = origin.site, f"source '{origin.site.url}/shop' of shop"
    wait_for_late(service, origin)
    with Load(service, "shop", example(service, "credit")) as load:
        site.add_folder(origin.folders[1], "/shop")
        site.add_folder(origin.folders[2], "/late")
        changed = time.monotonic()
        wait_for(lambda: answering(service, "shop") == {origin.version(1)}, "both gateways serve the new version")
        followed_s = time.monotonic() - changed
        # It failed at the start, because its source had nothing.
        wait_for(lambda: answering(service, "late") == {origin.version(2)}, "both gateways serve it")

        site.faults["/shop/manifest.json"] = Fault(times=10**9, status=503)
        wait_for(lambda: all(source in fault for fault in faults(service)), "both gateways name the source")
        assert 'makunouchi_watch_failing{watch="sources"} 1.0' in service.get("/metrics", headers=ADMIN).text
        assert service.get("/readyz").status_code == 200
        assert answering(service, "shop") == {origin.version(1)}
        site.faults.clear()
    # Neither of them is watched.
    assert (answering(service, "credit"), answering(service, "mounted")) == ({origin.version(0)}, {origin.version(1)})
    assert set(load.statuses) == {200}
    with capsys.disabled():
        sys.stdout.write(f"\nfollowed after {followed_s:.1f} s; {load.statuses[200]} responses, 0 failed\n")


def test_a_configured_model_is_loaded_again_while_its_source_is_away(service: Server, origin: Origin) -> None:
    origin.site.faults["/credit.tar.gz"] = Fault(times=10**9, status=404)
    body = example(service, "credit")
    for change, status in (("unload", 404), ("load", 200)):
        response = service.post(f"/v2/repository/models/credit/{change}", json={}, headers=ADMIN)
        assert response.status_code == 200, response.text
        wait_for(lambda: in_both_gateways(service, "credit", body, status), change)  # noqa: B023
    assert answering(service, "credit") == {origin.version(0)}
    origin.site.faults.clear()


def test_a_source_that_does_not_answer_does_not_delay_the_end(service: Server, origin: Origin) -> None:
    origin.site.faults["/shop/manifest.json"] = Fault(times=10**9, end_after=10, stalls=True)
    asked = len(origin.site.of("/shop/manifest.json"))
    wait_for(lambda: len(origin.site.of("/shop/manifest.json")) > asked, "a gateway reads the source")
    started = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - started < STALLED_STOP_S
    assert "s3cret" not in service.log
    origin.site.faults.clear()


def test_a_bento_has_the_version_of_the_source(origin: Origin, tmp_path: Path) -> None:
    """`bentoml build` fetches it. The Bento then serves it without the source, and without the store of the build."""
    models = LIST.partition("[late]")[0]
    bento, env = built_bento(tmp_path, environment(origin, tmp_path, models))
    pinned = bento.joinpath("bento.yaml").read_text()
    assert f"tag: credit:{origin.version(0)}" in pinned
    assert "s3cret" not in pinned
    (tmp_path / "elsewhere").mkdir()
    env |= {"BENTOML_HOME": str(tmp_path / "elsewhere"), "PYTHONPATH": ""}
    origin.site.faults["/credit.tar.gz"] = Fault(times=10**9, status=503)
    requests = len(origin.site.requests)
    with serving(str(bento), folder=bento / "src", env=env) as server:
        assert answering(server, "credit") == {origin.version(0)}
        assert len(origin.site.requests) == requests
    origin.site.faults.clear()


def built_bento(home: Path, env: dict[str, str]) -> tuple[Path, dict[str, str]]:
    """Build a Bento with these settings, export it, and return its folder with the settings."""
    program, variables = str(BENTOML_SERVE[0]), os.environ | {"BENTOML_DO_NOT_TRACK": "True"} | env
    built = subprocess.run(
        [program, "build", "--output", "tag"], cwd=ROOT, env=variables, capture_output=True, text=True, check=True
    )
    tag = next(line.removeprefix("__tag__:") for line in built.stdout.splitlines() if line.startswith("__tag__:"))
    subprocess.run([program, "export", tag, str(home / "x.bento")], env=variables, capture_output=True, check=True)
    with tarfile.open(home / "x.bento") as packed:
        packed.extractall(home / "bento", filter="data")
    return home / "bento", env


def test_starts_with_what_came_from_its_source_when_that_is_away(
    default_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = own_home(default_home, tmp_path_factory)
    folder = home / "origin"
    shutil.move(find("tabular", store=home / "models").folder, folder)
    shutil.rmtree(home / "models" / "tabular")
    version = file_sha256(folder / MANIFEST_FILE)[:16]
    with web_server() as site:
        source = f"{site.add_folder(folder, '/credit')}?sig=s3cret"
        assert registry(home, "fetch", source, "--name", "tabular").startswith(f"tabular:{version}")
    env = {
        "BENTOML_HOME": str(home),
        "MAKUNOUCHI_TABULAR_MODEL": source,
        **{f"MAKUNOUCHI_{kind}_PLACEMENT": "inline" for kind in ("IMAGE", "TABULAR", "RECOMMENDER")},
    }
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

    _call(mlflow, "registered-models/alias", name="churn", alias="champion", version="2")
    second = fetch("models:/churn@champion", name="churn")
    assert second.version != first.version
    for source in ("models:/churn@unknown", "models:/churn/9", "models:/other@champion"):
        with pytest.raises(ArtifactMissing, match=f"there is no '{source.removeprefix('models:/')}' of source"):
            fetch(source, name="churn")

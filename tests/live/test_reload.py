"""Tests of model reloads on the real service: no failed request, correct versions, no invalid version."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.card import read_card
from models.store.artifacts import find
from models.store.saving import saving
from serving.access.api_keys import hash_of
from tests.fixtures_default import own_home
from tests.live.server import ANSWER_S, Server, serving, wait_for
from tests.live.test_runner_loss import tabular_example

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent.parent
CAT = (ROOT / "docs" / "images" / "chelsea.jpg").read_bytes()
KEY = "mk_live-admin"
ADMIN = {"X-API-Key": KEY}
KEYS = f"live:admin:{hash_of(KEY)}"
CONNECTIONS, TURNS = 32, 8
MARK = "B "
_GENERATED = ("manifest.json", "card.json", "model.yaml")


def relabelled(home: Path, name: str, version: str, *, days: int = -1, **changed: Any) -> None:
    """Save a copy of `name` as `version`, `days` newer, with other class names and changed JSON files."""
    old = find(name, store=home / "models")
    card = read_card(old.folder)
    new_card = replace(
        card, classes=tuple(MARK + label for label in card.classes), created=card.created + timedelta(days=days)
    )
    with saving(new_card, version=version, store=home / "models", is_promoted=days > 0) as folder:
        for file in old.folder.iterdir():
            if file.name not in _GENERATED:
                (shutil.copytree if file.is_dir() else shutil.copy)(file, folder / file.name)
        for file_name, change in changed.items():
            target = folder / file_name.replace("__", ".")
            target.write_text(json.dumps(json.loads(target.read_text()) | change))


def reload(server: Server, name: str, version: str | None = None) -> httpx.Response:
    body = {} if version is None else {"version": version}
    return server.post(f"/v1/models/{name}/reload", json=body, headers=ADMIN)


@dataclass
class Load:
    """Concurrent requests to both models, with the versions and errors of their responses."""

    url: str
    row: object
    responses: int = 0
    versions: set[tuple[str, str]] = field(default_factory=set)
    # Versions since the last `clear`.
    recent: set[tuple[str, str]] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    is_stopped: bool = False

    async def run(self) -> None:
        async with httpx.AsyncClient(
            timeout=ANSWER_S, limits=httpx.Limits(max_connections=None), headers=ADMIN
        ) as client:
            await asyncio.gather(*(self._call(client, number) for number in range(CONNECTIONS)))

    async def _call(self, client: httpx.AsyncClient, number: int) -> None:
        is_image = number % 16 == 0
        while not self.is_stopped:
            # The pause leaves a part of the processors to the reload.
            await asyncio.sleep(0.05)
            if is_image:
                request = client.post(f"{self.url}/v1/images/classify", files={"image": CAT}, data={"top_k": "1"})
            else:
                request = client.post(f"{self.url}/v1/tabular/predict", json={"instances": [self.row]})
            try:
                answer = await request
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
                continue
            self._check(answer, "label" if is_image else "prediction")

    def _check(self, answer: httpx.Response, label: str) -> None:
        self.responses += 1
        if answer.status_code != 200:
            self.failures.append(f"{answer.status_code} {answer.text[:300]}")
            return
        body = answer.json()
        model = body["model"]
        self.versions.add((model["name"], model["version"]))
        self.recent.add((model["name"], model["version"]))
        if body["predictions"][0][label].startswith(MARK) != (model["version"] == "b"):
            self.failures.append(f"{model} predicted {body['predictions'][0][label]}")


def home_with_versions(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a BENTOML_HOME with valid and invalid versions, older than the default models."""
    home = own_home(default_home, tmp_path_factory)
    # Another size before the crop: pixels decoded for one version do not fit the other.
    relabelled(home, "image", "b", preprocessing__json={"resize": 300})
    for version in ("b", "cut", "shapes", "good"):
        relabelled(home, "tabular", version)
    cut = home / "models" / "tabular" / "cut" / "model.onnx"
    cut.write_bytes(cut.read_bytes()[:1000])
    wider = replace(read_card(home / "models" / "tabular" / "shapes"), classes=("x", "y", "z"))
    shutil.copytree(home / "models" / "tabular" / "shapes", home / "copy")
    shutil.rmtree(home / "models" / "tabular" / "shapes")
    with saving(wider, version="shapes", store=home / "models", is_promoted=False) as folder:
        for file in (home / "copy").iterdir():
            if file.name not in _GENERATED:
                shutil.copy(file, folder / file.name)
    return home


@pytest.fixture(scope="module")
def reloading_server(
    request: pytest.FixtureRequest, default_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A service with one placement of the tabular runner. Its tests reload the newest versions at their end."""
    env = {
        "BENTOML_HOME": str(home_with_versions(default_home, tmp_path_factory)),
        "MAKUNOUCHI_API_KEYS": KEYS,
        "MAKUNOUCHI_TABULAR_PLACEMENT": request.param,
    }
    with serving("service:Gateway", env=env) as server:
        yield server


@pytest.mark.parametrize("reloading_server", ["process"], indirect=True)
def test_reloads_models_without_a_restart(reloading_server: Server) -> None:
    reloads: list[httpx.Response] = []

    async def change(server: Server, load: Load) -> None:
        try:
            for turn in range(TURNS):
                name, version = (("tabular", "image")[turn % 2], ("b", None)[turn // 2 % 2])
                reloads.append(await asyncio.to_thread(reload, server, name, version))
                reloads[-1].raise_for_status()
                load.recent.clear()
                await asyncio.sleep(1.0)
                # Wait until each version has predicted before the next reload, even with slow images.
                wanted = (name, reloads[-1].json()["model"]["version"])
                await asyncio.to_thread(
                    wait_for,
                    lambda wanted=wanted: wanted in load.recent,  # type: ignore[misc]
                    f"a prediction of {wanted}",
                )
        finally:
            load.is_stopped = True

    load = Load(reloading_server.url, tabular_example(reloading_server))

    async def main() -> None:
        await asyncio.gather(load.run(), change(reloading_server, load))

    asyncio.run(main())

    assert [answer.status_code for answer in reloads] == [200] * TURNS
    assert load.failures == []
    assert {name for name, version in load.versions if version == "b"} == {"tabular", "image"}
    assert len(load.versions) == 4
    assert load.responses > 100


@pytest.mark.parametrize(
    ("reloading_server", "placement"), [("process", "process"), ("inline", "inline")], indirect=["reloading_server"]
)
def test_refused_version_keeps_the_old_one_and_explains_why(
    reloading_server: Server, placement: str, default_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server, first = reloading_server, find("tabular", store=default_home / "models").version
    row = tabular_example(server)

    def serving_version() -> str:
        answer = server.post("/v1/tabular/predict", json={"instances": [row]}, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model"]["version"])

    for version, status in (("cut", 409), ("shapes", 409), ("missing", 404)):
        refused = reload(server, "tabular", version)
        assert refused.status_code == status
        assert str(tmp_path_factory.getbasetemp()) not in refused.text
        assert serving_version() == first
    assert "good" in reload(server, "tabular", "missing").json()["detail"]

    assert reload(server, "tabular", "good").json()["previous"]["version"] == first
    assert serving_version() == "good"
    if placement == "process":
        # The rollback survives a restart of the runner.
        with server.held():
            server.worker("TabularRunner").kill()
            wait_for(lambda: not server.is_ready(), "the loss of the runner is detected")
        server.wait_ready()
        assert serving_version() == "good"
    assert reload(server, "tabular").json()["model"]["version"] == first


def test_new_version_in_a_watched_store_is_served(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = own_home(default_home, tmp_path_factory)
    env = {"BENTOML_HOME": str(home), "MAKUNOUCHI_WATCH_STORE_S": "0.5"}
    with serving("service:Gateway", env=env) as server:
        relabelled(home, "tabular", "newer", days=1)

        def is_new() -> bool:
            return bool(server.get("/health").json()["runners"]["tabular"]["model"]["version"] == "newer")

        wait_for(is_new, "the newer version serves")

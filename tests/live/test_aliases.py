"""A service whose configured tag is an alias: it follows the alias under load, and explains one that it cannot use."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from models.store.artifacts import find
from models.store.saving import saving
from tests.fixtures_default import own_home
from tests.live.server import ANSWER_S, ROOT, Server, serving, wait_for
from tests.live.test_reload import ADMIN, KEYS
from tests.live.test_runner_loss import tabular_example

pytestmark = pytest.mark.live

WATCH_S = 1.0
CONNECTIONS = 16
# A machine that other tests use needs more than the second that the reconciler confirms a difference.
FOLLOWED_S = WATCH_S + 10.0
_GENERATED = ("manifest.json", "card.json", "model.yaml")


@dataclass
class Load:
    """Concurrent requests: the number of responses, failures, and when each version answered first."""

    responses: int = 0
    failures: list[str] = field(default_factory=list)
    first: dict[str, float] = field(default_factory=dict)
    is_over: bool = False

    async def run(self, server: Server) -> None:
        body = {"instances": [tabular_example(server)]}
        async with httpx.AsyncClient(base_url=server.url, timeout=ANSWER_S, headers=ADMIN) as client:
            await asyncio.gather(*(self._call(client, body) for _ in range(CONNECTIONS)))

    async def _call(self, client: httpx.AsyncClient, body: object) -> None:
        while not self.is_over:
            # The pause leaves a part of the processors to what changes under load.
            await asyncio.sleep(0.05)
            try:
                response = await client.post("/v1/tabular/predict", json=body)
                response.raise_for_status()
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
                continue
            self.responses += 1
            self.first.setdefault(response.json()["model"]["version"], time.monotonic())

    def seconds_until(self, version: str, change: Callable[[], object]) -> float:
        """Call `change` and return the seconds after its end until `version` answers for the first time since."""
        self.first.clear()
        change()
        changed = time.monotonic()
        wait_for(lambda: version in self.first, f"version {version} answers", timeout_s=FOLLOWED_S)
        return self.first[version] - changed


def save_newer(home: Path, *versions: str) -> str:
    """Save copies of the tabular model that are not `latest`, and return the version of the original."""
    old = find("tabular", store=home / "models")
    for number, version in enumerate(versions, start=1):
        card = replace(old.card, created=old.card.created + timedelta(days=number))
        with saving(card, version=version, store=home / "models", is_promoted=False) as folder:
            for file in old.folder.iterdir():
                if file.name not in _GENERATED:
                    shutil.copy(file, folder / file.name)
    return old.version


def registry(home: Path, *arguments: str, status: int = 0) -> str:
    """Run `python -m models.store`, and return what it prints."""
    run = subprocess.run(
        [sys.executable, "-m", "models.store", *arguments],
        cwd=ROOT, env=os.environ | {"BENTOML_HOME": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == status, run.stdout + run.stderr
    return run.stdout + run.stderr


def served(server: Server) -> str:
    return str(server.get("/readyz", headers=ADMIN).json()["runners"]["tabular"]["model"]["version"])


def promote(server: Server, version: str) -> None:
    response = server.request("PUT", "/v1/models/tabular/aliases/champion", json={"version": version}, headers=ADMIN)
    assert response.status_code == 200, response.text


def test_a_service_follows_an_alias_under_load(
    default_home: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    home = own_home(default_home, tmp_path_factory)
    env = {
        "BENTOML_HOME": str(home),
        "MAKUNOUCHI_API_KEYS": KEYS,
        "MAKUNOUCHI_TABULAR_MODEL": "tabular:champion",
        "MAKUNOUCHI_WATCH_STORE_S": str(WATCH_S),
    }
    first = save_newer(home, "b", "c")
    registry(home, "promote", "tabular", first)
    with serving("service:Gateway", env=env) as server:
        assert served(server) == first
        load = Load()

        def change() -> list[float]:
            try:
                wait_for(lambda: load.responses > CONNECTIONS, "the load has begun")
                return [
                    load.seconds_until("b", lambda: registry(home, "promote", "tabular", "b")),
                    load.seconds_until("c", lambda: promote(server, "c")),
                    load.seconds_until("b", lambda: registry(home, "rollback", "tabular")),
                ]
            finally:
                load.is_over = True

        async def main() -> list[float]:
            return (await asyncio.gather(asyncio.to_thread(change), load.run(server)))[0]

        seconds = asyncio.run(main())
        with capsys.disabled():
            took = ", ".join(f"{each:.1f}" for each in seconds)
            sys.stdout.write(f"\nfollowed after {took} s; {load.responses} responses, {load.failures[:3]}\n")
        assert load.failures == []
        check_deletion(server, home, first)
        check_deleted_version(server, home)
        assert server.stop() == 0
    check_start(env)


def check_deletion(server: Server, home: Path, first: str) -> None:
    """What the service has loaded cannot be deleted, whether or not a name says so. What it has released can."""
    assert "alias 'champion'" in registry(home, "delete", "tabular", "b", status=2)
    registry(home, "alias", "tabular", "champion", "--remove")
    assert "a running service has loaded it" in registry(home, "delete", "tabular", "b", status=2)
    assert "loaded" in registry(home, "list", "tabular")
    registry(home, "promote", "tabular", first)
    wait_for(lambda: served(server) == first, "the first version serves again")
    # A replaced version is released after some seconds.
    wait_for(lambda: "loaded" not in line_of(home, "b"), "the version is released")
    assert "tabular:b is deleted" in registry(home, "delete", "tabular", "b")


def line_of(home: Path, version: str) -> str:
    return next(line for line in registry(home, "list", "tabular").splitlines() if line.startswith(version))


def check_deleted_version(server: Server, home: Path) -> None:
    """The service keeps its version when the alias names one that is not there, and says so in every place."""
    before = served(server)
    # Moved and deleted between two looks of the service.
    aliases = home / "models" / "tabular" / "aliases.json"
    aliases.write_text(aliases.read_text().replace(f'"{before}"', '"deleted"'))
    text = "alias 'champion' of artifact 'tabular' names version 'deleted', which is not in the model store"
    wait_for(lambda: "model_store" in server.get("/health", headers=ADMIN).text, "/health reports the fault")
    assert server.log.count(f"cannot look up tabular in the model store, its versions remain: {text}") == 1
    assert served(server) == before
    (alias,) = server.get("/v1/models", headers=ADMIN).json()["aliases"]
    assert alias["fault"].startswith(text)
    assert text in registry(home, "list", "tabular")


def check_start(env: dict[str, str]) -> None:
    """A start with such an alias ends with one line that names both, and the remedy."""
    with serving("service:Gateway", env=env, wait=False) as server:
        assert server.process.wait(ANSWER_S) != 0
        (line,) = (line for line in server.log.splitlines() if line.startswith("error: "))
    assert "alias 'champion' of artifact 'tabular' names version 'deleted'" in line
    assert "move the alias: python -m models.store promote tabular VERSION" in line


def test_a_listed_model_follows_its_alias(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = own_home(default_home, tmp_path_factory)
    first = save_newer(home, "b", "c")
    registry(home, "promote", "tabular", first)
    listed = home / "models.toml"
    listed.write_text('[shop]\nartifact = "tabular:champion"\nwatch = true\n\n[other]\nartifact = "tabular:champion"\n')
    env = {"BENTOML_HOME": str(home), "MAKUNOUCHI_API_KEYS": KEYS, "MAKUNOUCHI_MODELS_FILE": str(listed)}
    with serving("service:Gateway", env=env) as server:
        example = server.get("/docs.json").json()["paths"]["/v1/models/shop/predict"]["post"]["requestBody"]["content"]
        body = next(iter(example["application/json"]["examples"].values()))["value"]

        def version(name: str) -> str:
            response = server.post(f"/v1/models/{name}/predict", json=body, headers=ADMIN)
            assert response.status_code == 200, response.text
            return str(response.json()["model"]["version"])

        assert version("shop") == version("other") == first
        registry(home, "promote", "tabular", "b")
        wait_for(lambda: version("shop") == "b", "the listed model follows", timeout_s=FOLLOWED_S)
        # The alias is one of the artifact, under every name that serves it.
        response = server.request("PUT", "/v1/models/other/aliases/champion", json={"version": "c"}, headers=ADMIN)
        assert response.status_code == 200, response.text
        wait_for(lambda: version("shop") == "c", "the listed model follows", timeout_s=FOLLOWED_S)
        assert version("other") == first
        assert "a running service has loaded it" in registry(home, "delete", "tabular", first, status=2)
        aliases = server.get("/v1/models", headers=ADMIN).json()["aliases"]
        assert [(each["name"], each["version"]) for each in aliases] == [("shop", "c"), ("other", "c")]

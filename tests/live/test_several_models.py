"""The service of the README's section "Several models": every model answers, and the contract holds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures_several import commands, model_list, write_class
from tests.live.server import ROOT, Server, serving
from tests.live.test_reload import ADMIN, CAT, KEY, KEYS

pytestmark = [pytest.mark.live, pytest.mark.slow]

NAMES = re.findall(r"^\[(.+)\]$", model_list(), re.MULTILINE)
# Per operation and phase.
EXAMPLES = 1


@pytest.fixture(scope="module")
def service(several_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("several")
    home = folder / "bentoml"
    shutil.copytree(several_home / "models", home / "models")
    write_class(folder)
    (folder / "models.toml").write_text(model_list())
    env = {
        "BENTOML_HOME": str(home),
        "MAKUNOUCHI_MODELS_FILE": str(folder / "models.toml"),
        "MAKUNOUCHI_API_KEYS": KEYS,
        "PYTHONPATH": str(folder),
    }
    with serving("service:Gateway", env=env) as server:
        yield server


@pytest.fixture(scope="module")
def document(service: Server) -> dict[str, Any]:
    document: dict[str, Any] = service.get("/docs.json", headers=ADMIN).json()
    return document


def test_the_section_lists_models_of_every_kind() -> None:
    assert len(NAMES) == 9
    assert len(commands()) == 6


@pytest.mark.parametrize("name", NAMES)
def test_serves_any_number_of_models(service: Server, document: dict[str, Any], name: str) -> None:
    path = f"/v1/models/{name}/predict"
    operation = document["paths"][path]["post"]
    assert operation["operationId"] == f"predict_{name}"
    content = operation["requestBody"]["content"]
    if "application/json" in content:
        body = next(iter(content["application/json"]["examples"].values()))["value"]
        response = service.post(path, json=body, headers=ADMIN)
    else:
        response = service.post(path, files={"image": ("cat.jpg", CAT)}, headers=ADMIN)
    assert response.status_code == 200, response.text
    assert response.json()["model"]["name"] == name
    assert service.get(f"/v2/models/{name}/ready", headers=ADMIN).json() == {"name": name, "ready": True}


def test_a_generated_client_has_one_method_for_each_model(document: dict[str, Any], tmp_path: Path) -> None:

    (tmp_path / "openapi.json").write_text(json.dumps(document))
    command = [sys.executable, "-c", "from openapi_python_client.cli import app; app()", "generate"]
    done = subprocess.run(
        [*command, "--path", "openapi.json", "--meta", "none", "--output-path", "client"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    functions = {file.stem for file in (tmp_path / "client" / "api").rglob("*.py")}
    assert {f"predict_{name}" for name in NAMES} <= functions


def test_schemathesis_finds_no_failure(service: Server, tmp_path: Path) -> None:
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.serving.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{service.url}/openapi.json"]
    options = ["--checks", "all", "--seed", "1", "--no-color", "--max-examples", str(EXAMPLES), "--phases",
               "examples,fuzzing", "--include-path-regex", "^/v[12]/models/", "--request-timeout", "120",
               "--header", f"X-API-Key: {KEY}"]  # fmt: skip
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:]

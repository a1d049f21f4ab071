"""The client of openapi-python-client type-checks and calls the main operations."""

from __future__ import annotations

import base64
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.http_server import listening
from tests.serving.in_process_service import ROW, LocalService, png

pytestmark = pytest.mark.slow

PACKAGE = "makunouchi_client"
# The generator does not know these types, and its hooks require ruff on the path.
CONFIG = {
    "post_hooks": [],
    "content_type_overrides": {
        "text/event-stream": "text/plain",
        "text/csv": "application/octet-stream",
        "application/x-ndjson": "application/octet-stream",
        **{
            f"application/{kind}": "application/octet-stream" for kind in ("gzip", "zip", "x-tar", "vnd.apache.parquet")
        },
    },
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Generate the package and make it importable."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_bytes(LocalService().get("/openapi.json").content)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    command = [
        sys.executable, "-c", "from openapi_python_client.cli import app; app()", "generate", "--path", "openapi.json",
        "--config", "config.json", "--output-path", PACKAGE, "--meta", "none",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr, done.stdout
    sys.path.insert(0, str(folder))
    yield folder / PACKAGE
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


class Calls:
    """The generated functions by tag and name, for one address."""

    def __init__(self, address: str) -> None:
        self.client = importlib.import_module(PACKAGE).Client(base_url=f"http://{address}")
        self.models = importlib.import_module(f"{PACKAGE}.models")
        self.types = importlib.import_module(f"{PACKAGE}.types")

    def __call__(self, tag: str, name: str, *args: Any, **fields: Any) -> Any:
        response = importlib.import_module(f"{PACKAGE}.api.{tag}.{name}").sync_detailed(
            *args, client=self.client, **fields
        )
        assert response.status_code == 200, response.content
        return response.parsed


@pytest.fixture
def calls(package: Path, local_service: LocalService) -> Iterator[Calls]:
    with listening(local_service.edged) as address:
        calls = Calls(address)
        with calls.client:
            yield calls


def test_the_generated_client_type_checks(package: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-warn-redundant-casts",
        "--cache-dir",
        str(tmp_path),
        "--config-file",
        "",
        PACKAGE,
    ]

    done = subprocess.run(command, cwd=package.parent, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stdout


def test_every_operation_of_the_document_has_a_function(package: Path) -> None:
    document = json.loads((package.parent / "openapi.json").read_text())
    named = {each["operationId"] for methods in document["paths"].values() for each in methods.values()}

    assert {file.stem for file in package.glob("api/*/*.py")} - {"__init__"} == named


def test_client_classifies_images_from_forms_and_json(calls: Calls) -> None:
    models, types = calls.models, calls.types
    file = types.File(payload=io.BytesIO(png((0, 0, 255))), file_name="blue.png", mime_type="image/png")
    again = types.File(payload=io.BytesIO(png((0, 0, 255))))
    text = base64.b64encode(png((0, 0, 255))).decode()

    by_form = calls("images", "classify_image", body=models.ClassifyForm(image=file, top_k=1))
    by_json = calls("images", "classify_image_json", body=models.ClassifyFile(image=text, top_k=1))
    by_file = calls("images", "classify_image_file", body=again, top_k=1)
    several = calls("images", "classify_images", body=models.ClassifyBatchForm(images=[file], top_k=1))

    assert by_form.predictions[0].label == by_json.predictions[0].label == by_file.predictions[0].label == "blue"
    assert by_form.model.version == "v1"
    assert len(several.results) == 1


def test_client_predicts_rows(calls: Calls) -> None:
    models = calls.models
    request = models.TabularRequest.from_dict({"instances": [ROW]})

    answer = calls("tabular", "predict_tabular", body=request)

    assert answer.predictions[0].prediction in ("good", "bad")


def test_client_recommends_to_one_and_to_several_users(calls: Calls) -> None:
    models = calls.models

    one = calls("recommendations", "recommend", body=models.RecommendRequest(user_id="alice", n=3))
    several = calls(
        "recommendations", "recommend_bulk", body=models.BulkRecommendRequest(user_ids=["alice", "bob"], n=2)
    )

    assert [item.item_id for item in one.items]
    assert [result.user_id for result in several.results] == ["alice", "bob"]


def test_client_reads_models_and_health(calls: Calls) -> None:
    assert {each.name for each in calls("models", "list_models").models} == {"image", "tabular", "recommender"}
    assert calls("models", "get_model", "tabular").classes == ["good", "bad"]
    assert calls("models", "get_model_metrics", "tabular", filter_="overall").overall["accuracy"] == 0.9
    assert calls("models", "get_model_param", "tabular", "seed").value == 7
    assert calls("service", "health").status == "ok"
    assert calls("service", "index").links


def test_client_reads_users_and_items(calls: Calls, local_service: LocalService) -> None:
    item = local_service.get("/v1/items/top").json()["items"][0]["item_id"]

    assert calls("items", "get_item", item).item_id == item
    assert calls("items", "list_items").items
    assert calls("users", "get_user_recommendations", "alice", n=2).items


def test_client_uses_the_open_inference_protocol(calls: Calls) -> None:
    models = calls.models
    request = {"inputs": [{"name": "user_id", "shape": [1], "datatype": "BYTES", "data": ["alice"]}]}

    answer = calls("inference", "infer_recommender", body=models.InferRequest.from_dict(request))

    assert answer.model_name == "recommender"
    assert calls("inference", "inference_ready").ready

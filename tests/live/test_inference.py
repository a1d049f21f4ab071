"""Tests of the Open Inference Protocol on the real service, with the clients of Triton and MLServer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton  # type: ignore[import-untyped]
from PIL import Image

from tests.live.installed import installed
from tests.live.server import ROOT, Server

pytestmark = pytest.mark.live

CAT = ROOT / "docs" / "images" / "chelsea.jpg"
# MLServer needs other package versions, so it has a separate cached virtual environment.
MLSERVER = "mlserver==1.7.1"
INSTALL_TIMEOUT_S = 300


@pytest.fixture(scope="module")
def mlserver() -> Path:
    """The MLServer command, installed once. Skip the test with the installer's error if the installation fails."""
    return installed(MLSERVER, timeout_s=INSTALL_TIMEOUT_S) / "mlserver"


def example(service: Server, kind: str) -> dict[str, Any]:
    """Return the example request of the OpenAPI document."""
    document = service.get("/openapi.json").json()
    body = document["paths"][f"/v2/models/{kind}/infer"]["post"]["requestBody"]["content"]["application/json"]
    request: dict[str, Any] = body["examples"]["row"]["value"]
    return request


def inputs(request: dict[str, Any]) -> list[Any]:
    tensors = []
    for each in request["inputs"]:
        array = np.array(each["data"], np.object_ if each["datatype"] == "BYTES" else None)
        array = array if each["datatype"] == "BYTES" else array.astype(triton_dtype(each["datatype"]))
        tensors.append(triton.InferInput(each["name"], each["shape"], each["datatype"]))
        tensors[-1].set_data_from_numpy(array)
    return tensors


def triton_dtype(datatype: str) -> Any:
    return {"INT64": np.int64, "INT32": np.int32, "FP64": np.float64, "FP32": np.float32, "BOOL": np.bool_}[datatype]


def test_triton_client_calls_every_model(service: Server) -> None:
    client = triton.InferenceServerClient(service.url.removeprefix("http://"))
    try:
        assert client.is_server_ready()
        pixels = np.asarray(Image.open(CAT).convert("RGB"))[np.newaxis]
        image = triton.InferInput("image", list(pixels.shape), "UINT8")
        image.set_data_from_numpy(pixels)
        (version,) = client.get_model_metadata("image")["versions"]
        seen = client.infer("image", [image], model_version=version)
        rows = client.infer("tabular", inputs(example(service, "tabular")))
        items = client.infer("recommender", inputs(example(service, "recommender")))
    finally:
        client.close()

    assert seen.as_numpy("label")[0].decode() in {"tabby", "tiger cat", "Egyptian cat"}
    assert seen.as_numpy("probabilities").shape == (1, 1000)
    assert rows.as_numpy("probabilities").sum() == pytest.approx(1, abs=1e-4)
    assert items.as_numpy("item_id").shape == (1, 3)


@pytest.mark.parametrize("flags", [[], ["--binary-data"]], ids=["json", "binary"])
def test_mlserver_client_sends_a_file_of_requests(
    service: Server, mlserver: Path, tmp_path: Path, flags: list[str]
) -> None:
    requests, answers = tmp_path / "requests.json", tmp_path / "answers.json"
    request = example(service, "tabular")
    requests.write_text("".join(json.dumps(request | {"id": str(number)}) + "\n" for number in range(4)))

    address = service.url.removeprefix("http://")
    files = ["-i", str(requests), "-o", str(answers)]
    command = [str(mlserver), "infer", "-u", address, "-m", "tabular", *files, "-s", "2", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    assert sorted(line["id"] for line in lines) == ["0", "1", "2", "3"]
    for line in lines:
        outputs = {output["name"]: output for output in line["outputs"]}
        assert outputs["prediction"]["data"][0] in ("good", "bad")
        assert sum(outputs["probabilities"]["data"]) == pytest.approx(1, abs=1e-4)

"""Tests of reduced precision: exact first layers, int8 checked before saving, no telemetry."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.errors import ParityNotMet
from models.image.classifier import ImageClassifier
from models.image.networks import PixelClassifier, build_network
from models.image.openvino_runtime import cpu_has_bf16, import_openvino
from models.image.preprocessing import Preprocessing
from models.store.artifacts import Artifact, versions
from training.image.export import agree, write_network
from training.image.params import Params
from training.image.train import train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent.parent
SMALL = Preprocessing(resize=36, crop=32)


@pytest.fixture(scope="module")
def parameters(tmp_path_factory: pytest.TempPathFactory) -> Params:
    labels = tmp_path_factory.mktemp("labels") / "labels.txt"
    labels.write_text("a\nb\nc\n")
    return Params(arch="resnet18", weights="none", labels=labels, size=32, precision="int8", min_agreement=0.0)


@pytest.fixture(scope="module")
def quantized(parameters: Params, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return train(parameters, store=tmp_path_factory.mktemp("models"))


def write(arch: str, folder: Path) -> PixelClassifier:
    torch.manual_seed(0)
    model = PixelClassifier(build_network(arch, 3), SMALL.mean, SMALL.std).eval()
    write_network(model, SMALL, folder)
    return model


def random_pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, *SMALL.shape), dtype=np.uint8)


@pytest.mark.skipif(not cpu_has_bf16(), reason="this CPU computes bf16 as f32")
@pytest.mark.parametrize(("arch", "exact"), [("efficientnet_lite0", 2), ("resnet18", 1), ("mobilenet_v2", 2)])
def test_the_first_layers_are_computed_exactly(arch: str, exact: int, tmp_path: Path) -> None:
    write(arch, tmp_path)
    core = import_openvino().Core()
    options = {"INFERENCE_PRECISION_HINT": "bf16"}
    compiled = core.compile_model(core.read_model(tmp_path / "model.xml"), "CPU", options)
    precisions = [
        node.get_rt_info()["runtimePrecision"].astype(str)
        for node in compiled.get_runtime_model().get_ordered_ops()
        if node.get_rt_info()["layerType"].astype(str) in ("Convolution", "GroupConvolution")
    ]
    assert precisions[:exact] == ["f32"] * exact
    assert set(precisions[exact:]) == {"bf16"}


def test_agreement_on_images_with_a_clear_class_is_recorded(tmp_path: Path) -> None:
    model = write("resnet18", tmp_path)
    agreement = agree(model, tmp_path, random_pixels(6), precision="f32", least=1.0)
    assert agreement.by_precision == agreement.clear == {"f32": 1.0}
    np.testing.assert_allclose(agreement.answers, agreement.reference, atol=1e-4)


def test_an_int8_artifact_computes_in_int8(quantized: Artifact) -> None:
    assert quantized.card.params["precision"] == "int8"
    for precision in (None, "f32"):
        served = ImageClassifier.load(quantized, threads=2, device="cpu", precision=precision)
        assert served.runtime == "OpenVINO int8, 2 threads"
    text = (quantized.folder / "model.xml").read_text()
    assert text.count('type="FakeQuantize"') >= 20
    # A quarter of float32's: the weights themselves are in eight bits.
    weights = (quantized.folder / "weights.safetensors").stat().st_size
    assert (quantized.folder / "model.bin").stat().st_size < weights / 3
    assert not list(quantized.folder.glob("quantized-*"))


def test_an_int8_artifact_is_close_to_torch(quantized: Artifact) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    served = ImageClassifier.load(quantized, threads=2, device="cpu").predict(pixels)
    reference = ImageClassifier.load(quantized, device="torch:cpu").predict(pixels)
    np.testing.assert_allclose(served, reference, atol=0.25)
    assert not np.allclose(served, reference, atol=1e-6)


def test_the_card_records_the_cost_of_int8(quantized: Artifact) -> None:
    card = quantized.card
    assert card.parity is not None
    assert card.params["agreement_int8"] == card.parity.top1_agreement
    assert "agreement_where_clear_int8" in card.params
    assert card.parity.runtime.endswith("int8")
    assert "nncf" in card.libraries


def test_int8_that_does_not_agree_is_not_saved(parameters: Params, tmp_path: Path) -> None:
    with pytest.raises(ParityNotMet, match="--min-agreement"):
        train(replace(parameters, min_agreement=1.01), store=tmp_path)
    assert versions("image", store=tmp_path) == []


def test_quantising_loads_no_telemetry() -> None:
    code = (
        "import sys\nfrom training.image.precision import import_nncf\n"
        "import_nncf()\nfrom nncf.telemetry.wrapper import NNCFTelemetryStub, telemetry\n"
        "print(sys.modules.get('openvino_telemetry'), isinstance(telemetry, NNCFTelemetryStub))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["None", "True"]

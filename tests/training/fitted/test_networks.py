"""Networks of torch and ONNX files: what is served is what the network answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import nn

from models.errors import DataInvalid, NotConvertible
from models.image import classifier
from models.image.classifier import ImageClassifier
from models.image.preprocessing import Preprocessing
from tests.training.fitted.served_rows import SEVERAL, TWO, Y, answers, shares
from tests.training.fitted.served_rows import X as ROWS
from training import save

pytestmark = pytest.mark.slow

X = ROWS.astype(np.float32)
WAY_OUT = "with the kind 'python': see docs/own-models.md"
NAMES = ["low", "middling", "high"]


def network(outputs: int, *tail: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.BatchNorm1d(5), nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, outputs))
    return nn.Sequential(*layers, *tail)


def output_of(module: nn.Module, rows: Any) -> torch.Tensor:
    module.eval()
    with torch.inference_mode():
        output: torch.Tensor = module(torch.as_tensor(rows))
    return output


@pytest.mark.parametrize("tail", [(), (nn.Softmax(1),), (nn.LogSoftmax(1),)], ids=["scores", "softmax", "logarithm"])
def test_networks_that_classify(tail: tuple[nn.Module, ...], tmp_path: Path) -> None:
    module = network(3, *tail)
    artifact = save(module, X, Y, name="m", classes=NAMES, store=tmp_path)

    output = output_of(module, X)
    expected = (
        output if isinstance(tail[:1], nn.Softmax) or (tail and isinstance(tail[0], nn.Softmax)) else output.softmax(1)
    )
    predictions = answers(artifact, X)
    np.testing.assert_allclose(shares(predictions), expected, atol=2e-6)
    assert [row["prediction"] for row in predictions] == [NAMES[number] for number in output.argmax(1)]
    assert artifact.card.metrics["accuracy"] == pytest.approx(float((output.argmax(1).numpy() == Y).mean()))
    assert artifact.card.algorithm == "Sequential of torch"


@pytest.mark.parametrize("tail", [(), (nn.Sigmoid(),)], ids=["score", "probability"])
def test_one_output_for_two_classes(tail: tuple[nn.Module, ...], tmp_path: Path) -> None:
    module = network(1, *tail)
    artifact = save(module, 10 * X, TWO, name="m", classes=["false", "true"], store=tmp_path)

    output = output_of(module, 10 * X)[:, 0]
    second = output if tail else output.sigmoid()
    np.testing.assert_allclose(shares(answers(artifact, 10 * X))[:, 1], second, atol=2e-6)


@pytest.mark.parametrize("tail", [(), (nn.Flatten(0),)], ids=["column", "vector"])
def test_networks_that_estimate(tail: tuple[nn.Module, ...], tmp_path: Path) -> None:
    module = network(1, *tail)
    artifact = save(module, torch.tensor(X), name="m", store=tmp_path)
    predicted = [row["prediction"] for row in answers(artifact, X)]
    np.testing.assert_allclose(predicted, output_of(module, X).ravel(), atol=1e-5)

    module = network(3).double()
    several = save(module, X, SEVERAL, name="n", store=tmp_path)
    predicted = [list(row["prediction"].values()) for row in answers(several, X)]
    np.testing.assert_allclose(predicted, output_of(module, X.astype(np.float64)), atol=1e-9)


def test_a_network_stays_in_training(tmp_path: Path) -> None:
    module = network(1).train()
    save(module, X[:1], name="m", store=tmp_path)
    assert module.training


class Pair(nn.Module):
    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return rows, rows


class Branch(nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows if rows.sum() > 0 else -rows


@pytest.mark.parametrize(
    ("module", "rows", "options", "message"),
    [
        (Pair(), X, {}, "Pair returns tuple, not one tensor"),
        (Branch(), X, {}, "Branch cannot be exported to ONNX ("),
        (
            network(3),
            torch.zeros(2, 3, 4),
            {},
            "Sequential takes (2, 3, 4), and the networks that are ",
        ),
        (nn.Conv2d(3, 1, 1), torch.zeros(2, 3, 8, 8), {}, "Conv2d takes (2, 3, 8, 8), and the networks that are"),
    ],
)
def test_networks_that_cannot_be_converted(
    module: nn.Module, rows: Any, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(NotConvertible) as refused:
        save(module, rows, name="m", store=tmp_path / "models", **options)
    assert str(refused.value).startswith(message)
    assert str(refused.value).endswith(WAY_OUT)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (X[:, :4], {}, "Sequential does not take the rows of X: running_mean should contain 4 elements"),
        (np.where(X > 1, np.nan, X), {}, "X has missing values, and a network takes numbers; fill them"),
        (X, {"classes": ["a", "b"]}, "2 classes are named, and the network has 3 outputs"),
        (X, {"y": Y}, "the network has 3 outputs; for a classifier name them: classes=[...]"),
        (X, {"y": Y[1:], "classes": NAMES}, "y has 199 values, and X has 200 rows"),
    ],
)
def test_rows_that_a_network_does_not_take(rows: Any, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataInvalid) as refused:
        save(network(3), rows, name="m", store=tmp_path / "models", **options)
    assert str(refused.value).startswith(message)
    assert not (tmp_path / "models").exists()


def written(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def test_onnx_files(tmp_path: Path) -> None:
    linear = LogisticRegression().fit(X, Y)
    file = written(to_onnx(linear, X[:1], options={"zipmap": False}), tmp_path / "classes.onnx")
    artifact = save(file, X, Y, name="m", classes=NAMES, store=tmp_path)
    np.testing.assert_allclose(shares(answers(artifact, X)), linear.predict_proba(X), atol=2e-6)
    assert artifact.card.algorithm == "network of skl2onnx"

    regression = LinearRegression().fit(X, SEVERAL)
    path = str(written(to_onnx(regression, X[:1]), tmp_path / "numbers.onnx"))
    predictions = answers(save(path, X, SEVERAL, name="n", store=tmp_path), X)
    np.testing.assert_allclose(
        [list(row["prediction"].values()) for row in predictions], regression.predict(X), atol=1e-3
    )


def graph(rows: Any = ("N", 5), of_type: int = TensorProto.FLOAT, inputs: int = 1) -> onnx.ModelProto:
    """Return a graph whose only output is the maximum of its inputs."""
    names = [f"input_{number}" for number in range(inputs)]
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Max", names, ["largest"])],
            "largest",
            [helper.make_tensor_value_info(name, of_type, rows) for name in names],
            [helper.make_tensor_value_info("largest", of_type, None)],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (graph(inputs=2), "'m.onnx' has 2 inputs, not one of rows (N, F)"),
        (graph(rows=("N", 3, 5)), "the input of 'm.onnx' is not float32 or float64 (N, F)"),
        (graph(of_type=TensorProto.INT64), "the input of 'm.onnx' is not float32 or float64 (N, F)"),
        (graph(rows=(1, 5)), "'m.onnx' takes 1 rows only: export it for any number of rows, or serve it"),
        (to_onnx(LogisticRegression().fit(X, Y), X[:1]), "the outputs of 'm.onnx' (output_label, output_probability)"),
    ],
)
def test_onnx_files_of_another_form(model: onnx.ModelProto, message: str, tmp_path: Path) -> None:
    with pytest.raises(NotConvertible) as refused:
        save(written(model, tmp_path / "m.onnx"), X, name="m", store=tmp_path / "models")
    assert str(refused.value).startswith(message)
    assert str(refused.value).endswith(WAY_OUT)


def test_onnx_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a graph")
    with pytest.raises(NotConvertible, match=r"ONNX Runtime cannot load 'm\.onnx'"):
        save(tmp_path / "m.onnx", X, name="m", store=tmp_path / "models")
    with pytest.raises(DataInvalid, match=r"no file '.*nowhere\.onnx'"):
        save(tmp_path / "nowhere.onnx", X, name="m", store=tmp_path / "models")
    file = written(graph(), tmp_path / "largest.onnx")
    with pytest.raises(DataInvalid, match=r"'largest\.onnx' takes 5 columns, and X has 3"):
        save(file, X[:, :3], name="m", store=tmp_path / "models")
    assert not (tmp_path / "models").exists()


class Small(nn.Module):
    def __init__(self, *tail: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(4, 3), *tail)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.layers(images))
        return scores


def test_a_network_that_classifies_images(tmp_path: Path) -> None:
    module = Small()
    artifact = save(module, torch.rand(4, 3, 32, 32), [0, 1, 2, 0], name="m", classes=NAMES, store=tmp_path)

    loaded = ImageClassifier.load(artifact)
    assert loaded.preprocessing == Preprocessing(resize=37, crop=32)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (loaded.preprocessing.mean, loaded.preprocessing.std))
    images = (torch.tensor(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
    np.testing.assert_allclose(loaded.predict(pixels), output_of(module, images).softmax(1), atol=1e-5)
    card = artifact.card
    assert (card.task, card.classes, card.algorithm) == ("image-classification", tuple(NAMES), "Small")
    assert set(card.metrics) == {"top1", "log_loss"}
    assert card.parity is not None
    assert card.parity.max_difference < 1e-4


def test_a_network_whose_class_the_service_does_not_have_is_served_by_a_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = save(Small(), torch.rand(2, 3, 32, 32), name="m", classes=NAMES, store=tmp_path)
    # As on a machine with a GPU.
    monkeypatch.setattr(classifier, "_CUDA_FILES", (str(tmp_path),))
    monkeypatch.setattr("models.image.torch_runtime.has_cuda", lambda: True)
    assert ImageClassifier.load(artifact).runtime.startswith("OpenVINO")


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (Small(nn.Softmax(1)), (4, 3, 32, 32), "Small returns probabilities: return scores, without the softmax"),
        (Small(), (4, 3, 32, 24), "X holds images of 32 x 24 pixels; only squares are served"),
        (Small(nn.Linear(3, 2)), (4, 3, 32, 32), r"Small returns \(4, 2\), and 3 classes are named"),
    ],
)
def test_networks_of_images_that_are_refused(
    module: nn.Module, shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises((DataInvalid, NotConvertible), match=message):
        save(module, torch.rand(shape), name="m", classes=NAMES, store=tmp_path / "models")
    assert not (tmp_path / "models").exists()

"""The default image classifier on both runtimes: accuracy, threads, batches, invalid artifacts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from models.errors import ArtifactInvalid, InvalidInput
from models.image.classifier import ImageClassifier
from models.image.openvino_runtime import IR_FILE, OpenVINOEngine, import_openvino, stream_count
from models.image.preprocessing import ImageDecoder, Pixels
from models.store.artifacts import Artifact
from tests.models.fixed_choice import FixedChoice
from training.image.photographs import PHOTOGRAPHS

if TYPE_CHECKING:
    from openvino import InferRequest

ROOT = Path(__file__).parent.parent.parent.parent
CATS = ("tabby", "tiger cat", "Egyptian cat")
CUPS = ("espresso", "cup", "coffee mug")


@pytest.fixture(scope="module")
def classifier(image_artifact: Artifact) -> ImageClassifier:
    return ImageClassifier.load(image_artifact, threads=2, device="cpu")


@pytest.fixture(scope="module")
def pixels(classifier: ImageClassifier) -> Pixels:
    decoder = ImageDecoder(classifier.preprocessing)
    return np.stack([decoder.decode(photograph.path.read_bytes()) for photograph in PHOTOGRAPHS])


@pytest.mark.parametrize(("photograph", "right"), [("chelsea", CATS), ("coffee", CUPS)])
@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_a_photograph_is_classified_correctly(
    image_artifact: Artifact, pixels: Pixels, device: str, photograph: str, right: tuple[str, ...]
) -> None:
    classifier = ImageClassifier.load(image_artifact, threads=2, device=device)
    index = [each.name for each in PHOTOGRAPHS].index(photograph)
    answer = classifier.predict(pixels[index : index + 1])[0]
    best = {classifier.labels[i]: float(answer[i]) for i in answer.argsort()[-3:]}
    assert any(best.get(label, 0.0) > 0.2 for label in right), best


def test_answers_are_probabilities_of_the_labels(classifier: ImageClassifier, pixels: Pixels) -> None:
    answers = classifier.predict(pixels)
    assert answers.dtype == np.float32
    assert answers.shape == (len(pixels), 1000) == (len(pixels), len(classifier.labels))
    np.testing.assert_allclose(answers.sum(axis=1), 1.0, atol=1e-3)
    assert answers.min() >= 0


def test_both_runtimes_agree(image_artifact: Artifact, classifier: ImageClassifier, pixels: Pixels) -> None:
    reference = ImageClassifier.load(image_artifact, device="torch:cpu")
    assert classifier.runtime.startswith("OpenVINO")
    assert reference.runtime.startswith("torch")
    tolerance = 1e-4 if image_artifact.card.params["precision"] == "f32" else 0.15
    np.testing.assert_allclose(classifier.predict(pixels), reference.predict(pixels), atol=tolerance)


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 33])
@pytest.mark.parametrize("threads", [1, 2, 9])
def test_a_prediction_is_independent_of_the_batch(
    image_artifact: Artifact, pixels: Pixels, rows: int, threads: int
) -> None:
    classifier = ImageClassifier.load(image_artifact, threads=threads, device="cpu", precision="f32")
    single = np.concatenate([classifier.predict(image[None]) for image in pixels])
    order = np.arange(rows) % len(pixels)
    np.testing.assert_allclose(classifier.predict(pixels[order]), single[order], atol=1e-5)


def test_concurrent_calls_return_their_own_results(classifier: ImageClassifier, pixels: Pixels) -> None:
    expected = classifier.predict(pixels)

    def predict(index: int) -> NDArray[np.float32]:
        return classifier.predict(pixels[index : index + 1 + index % 3])

    starts = [i % 7 for i in range(60)]
    with ThreadPoolExecutor(6) as pool:
        for start, answer in zip(starts, pool.map(predict, starts), strict=True):
            np.testing.assert_allclose(answer, expected[start : start + 1 + start % 3], atol=1e-5)


def test_the_example_is_valid(classifier: ImageClassifier) -> None:
    assert classifier.predict(classifier.example()).shape == (1, 1000)


def test_views_that_are_not_contiguous_are_answered(classifier: ImageClassifier, pixels: Pixels) -> None:
    mirrored = pixels[:2, :, ::-1]
    np.testing.assert_array_equal(classifier.predict(mirrored), classifier.predict(mirrored.copy()))


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((1, 224, 224, 3), np.float32),
        np.zeros((224, 224, 3), np.uint8),
        np.zeros((1, 3, 224, 224), np.uint8),
        np.zeros((1, 32, 32, 3), np.uint8),
        np.zeros((0, 224, 224, 3), np.uint8),
    ],
)
def test_other_shapes_are_refused(classifier: ImageClassifier, rows: NDArray[np.generic]) -> None:
    with pytest.raises(InvalidInput, match="must be uint8"):
        classifier.predict(rows)


def test_an_unknown_device_is_refused(image_artifact: Artifact) -> None:
    with pytest.raises(InvalidInput, match="known: auto, cpu"):
        ImageClassifier.load(image_artifact, device="abacus")


def test_an_artifact_of_another_task_is_refused(image_artifact: Artifact) -> None:
    other = replace(image_artifact, card=replace(image_artifact.card, task="recommendation"))
    with pytest.raises(ArtifactInvalid, match="recommendation"):
        ImageClassifier.load(other)


@pytest.mark.parametrize(("file", "device"), [("model.xml", "cpu"), ("weights.safetensors", "torch:cpu")])
def test_an_altered_file_is_refused(image_artifact: Artifact, tmp_path: Path, file: str, device: str) -> None:
    folder = tmp_path / "image" / "altered"
    shutil.copytree(image_artifact.folder, folder)
    (folder / file).write_bytes((folder / file).read_bytes()[:1000])
    with pytest.raises(ArtifactInvalid, match=file):
        ImageClassifier.load(replace(image_artifact, folder=folder), device=device)


def test_serving_on_a_cpu_loads_neither_torch_nor_telemetry(image_artifact: Artifact) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom models.image.classifier import ImageClassifier\n"
        "from models.store.artifacts import read_artifact\n"
        f"c = ImageClassifier.load(read_artifact(Path({str(image_artifact.folder)!r})), threads=1, device='cpu')\n"
        "c.predict(c.example())\n"
        "print([m for m in ('torch', 'torchvision', 'openvino_telemetry') if sys.modules.get(m)])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_card_separates_measured_and_published_metrics(image_artifact: Artifact) -> None:
    card = image_artifact.card
    assert card.algorithm == "efficientnet_lite0"
    assert card.parity is not None
    assert card.parity.top1_agreement is not None
    assert card.parity.top1_agreement >= 0.995
    assert card.metrics["published_top1"] == 0.751
    assert card.metrics["photographs_top3"] > 0.8
    assert "not measured here" in card.description
    assert {"image"} == {column.name for column in card.inputs}
    assert card.profile is not None
    assert set(card.profile.outputs) == {"label", "confidence"}


def test_a_batch_is_split_over_all_streams(image_artifact: Artifact, pixels: Pixels) -> None:
    engine = OpenVINOEngine(image_artifact.folder, threads=2)
    acquired: list[int] = []
    acquire = engine._acquire

    def record(count: int) -> list[InferRequest]:
        requests = acquire(count)
        acquired.append(len(requests))
        return requests

    engine._acquire = record  # type: ignore[method-assign]
    for rows in (2, 8):
        engine.predict(pixels[:rows])
    assert acquired == [2, 2]


def test_a_single_image_has_the_same_result_with_both_options(image_artifact: Artifact, pixels: Pixels) -> None:
    engine = OpenVINOEngine(image_artifact.folder, threads=2)
    answers = {}
    for option in (0, 1):
        engine._choice = FixedChoice(option)
        answers[option] = engine.predict(pixels[:1])
    assert (answers[0] == answers[1]).all()
    assert (answers[0] == OpenVINOEngine(image_artifact.folder, threads=1).predict(pixels[:1])).all()


def test_single_images_from_several_threads_are_all_answered(image_artifact: Artifact, pixels: Pixels) -> None:
    engine = OpenVINOEngine(image_artifact.folder, threads=2)
    engine._choice = FixedChoice(1)
    expected = engine.predict(pixels)
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda row: engine.predict(pixels[[row % len(pixels)]]), range(60)))
    for row, answer in enumerate(results):
        assert np.abs(answer[0] - expected[row % len(pixels)]).max() < 1e-5


@pytest.mark.parametrize(("threads", "streams"), [(1, 1), (2, 2), (4, 4), (6, 4), (16, 4), (32, 8)])
def test_few_threads_are_separate_streams(threads: int, streams: int) -> None:
    assert stream_count(threads) == streams


@pytest.mark.slow  # It imports PyTorch.
def test_networks_are_known_by_name() -> None:
    from models.image.networks import LITE0, build_network, known_networks

    assert {LITE0, "resnet18", "resnet50", "mobilenet_v2"} <= set(known_networks())
    with pytest.raises(InvalidInput, match="resnet18"):
        build_network("resnet19", 2)


def test_the_embedding_is_the_input_of_the_last_layer_on_both_runtimes(
    image_artifact: Artifact, classifier: ImageClassifier, pixels: Pixels
) -> None:
    both = classifier.embed(pixels)
    width = image_artifact.card.params["embedding"]
    assert width == 1280
    assert both.shape == (len(pixels), len(classifier.labels) + width)
    np.testing.assert_array_equal(both[:, : len(classifier.labels)], classifier.predict(pixels))
    # Of the embedding single the last layer makes the answer.
    weights = load_file(image_artifact.folder / "weights.safetensors")
    logits = both[:, len(classifier.labels) :] @ weights["classifier.1.weight"].T + weights["classifier.1.bias"]
    tolerance = 1e-3 if image_artifact.card.params["precision"] == "f32" else 0.15
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(shares / shares.sum(axis=1, keepdims=True), classifier.predict(pixels), atol=tolerance)
    reference = ImageClassifier.load(image_artifact, device="torch:cpu").embed(pixels)
    np.testing.assert_allclose(both, reference, atol=20 * tolerance)


def test_an_artifact_without_embeddings_is_supported(image_artifact: Artifact, pixels: Pixels, tmp_path: Path) -> None:
    openvino = import_openvino()
    graph = openvino.Core().read_model(image_artifact.folder / IR_FILE)
    single = openvino.Model([graph.output(0)], graph.get_parameters(), "without_embedding")
    openvino.save_model(single, tmp_path / IR_FILE, compress_to_fp16=False)
    engine = OpenVINOEngine(tmp_path, threads=2)
    assert engine.embedding_size == 0
    assert engine.embed(pixels[:3]).shape == engine.predict(pixels[:3]).shape


@pytest.mark.slow
def test_a_network_without_a_linear_layer_has_no_embedding() -> None:
    from models.image.networks import ClassifierWithEmbedding, PixelClassifier, build_network

    model = PixelClassifier(build_network("squeezenet1_1", 3), (0.5,) * 3, (0.5,) * 3).eval()
    with pytest.raises(InvalidInput, match="linear layer"):
        ClassifierWithEmbedding(model)

"""Tests of fine-tuning on folders of images: it learns, continues after a kill, and saves only what passes the gate."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

import training.image.finetune
from models.card import DataSource
from models.errors import ArtifactInvalid, DataInvalid, GateNotMet, ParityNotMet
from models.image.classifier import ImageClassifier
from models.image.networks import build_network
from models.image.preprocessing import ImageDecoder
from models.store.artifacts import Artifact, versions
from training.image.checkpoint import Checkpoint, Progress, write_checkpoint
from training.image.finetune import Plan, is_finished
from training.image.folder import ImageFolder, decode_files, split
from training.image.params import Params
from training.image.train import train
from training.image.weights import preprocessing_of

pytestmark = pytest.mark.slow

# Small enough for seconds, and with every part of the real thing.
QUICK = Params(
    arch="mobilenet_v2", weights="none", size=32, augment="light", flip=False, epochs=2, batch=16, min_agreement=0.5
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: on shared cores two threads, which wait for each other in every layer, are ten times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_digits(root: Path, *, classes: int = 10, most: int = 10_000) -> Path:
    digits = load_digits()
    for name in range(classes):
        folder = root / str(name)
        folder.mkdir(parents=True)
        for row in np.flatnonzero(digits.target == name)[:most]:
            pixels = (digits.images[row] * (255 / 16)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{row:04d}.png")
    return root


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("few") / "digits", classes=3, most=20)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    root = tmp_path_factory.mktemp("digits")
    params = Params(
        arch="shufflenet_v2_x1_0", weights="none", size=48, data=write_digits(root / "digits"), augment="light",
        flip=False, epochs=6, batch=64, rate=5e-3, min_metric=0.97, name="digits", work=root / "work",
    )  # fmt: skip
    return root, train(params, store=root / "models")


def test_digits_are_classified(digits: tuple[Path, Artifact]) -> None:
    _, artifact = digits
    card = artifact.card
    assert card.metrics["top1"] > 0.97
    assert card.metrics["top5"] > 0.99
    assert card.classes == tuple("0123456789")
    assert card.data.rows == 1797
    assert {f"class={digit}" for digit in range(10)} == set(card.slices)
    assert sum(part["support"] for part in card.slices.values()) == pytest.approx(1797 / 5, abs=5)


def test_the_report_holds_the_confusion_matrix(digits: tuple[Path, Artifact]) -> None:
    _, artifact = digits
    counts = np.array(json.loads((artifact.folder / "confusion.json").read_text())["counts"])
    assert np.trace(counts) / counts.sum() == pytest.approx(artifact.card.metrics["top1"])
    report = (artifact.folder / "report.md").read_text()
    assert "## Confusion" in report
    assert "class=7" in report


def test_the_saved_classifier_reads_digits(digits: tuple[Path, Artifact]) -> None:
    root, artifact = digits
    classifier = ImageClassifier.load(artifact, threads=2, device="cpu")
    decoder = ImageDecoder(classifier.preprocessing)
    files = sorted((root / "digits").glob("*/*.png"))[::20]
    answers = classifier.predict(np.stack([decoder.decode(file.read_bytes()) for file in files]))
    predicted = [classifier.labels[index] for index in answers.argmax(axis=1)]
    assert np.mean([name == file.parent.name for name, file in zip(predicted, files, strict=True)]) > 0.97


def test_a_finished_run_leaves_no_checkpoint(digits: tuple[Path, Artifact]) -> None:
    root, _ = digits
    assert not (root / "work").exists()


def test_a_killed_run_continues_to_the_same_weights(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = tmp_path / "start.safetensors"
    torch.manual_seed(1)
    save_file(build_network("mobilenet_v2", 5).state_dict(), start)
    params = replace(QUICK, data=few, weights=str(start), epochs=4, head_epochs=2, work=tmp_path / "whole")
    whole = train(params, store=tmp_path / "whole-models")
    for killed_after in (1, 2, 3):
        work, store = tmp_path / f"work-{killed_after}", tmp_path / f"models-{killed_after}"
        write = KilledAfter(killed_after)
        monkeypatch.setattr(training.image.finetune, "write_checkpoint", write)
        with pytest.raises(KeyboardInterrupt):
            train(replace(params, work=work), store=store)
        assert versions("image", store=store) == []
        monkeypatch.setattr(training.image.finetune, "write_checkpoint", write_checkpoint)
        resumed = train(replace(params, work=work), store=store)
        assert resumed.card.metrics == pytest.approx(whole.card.metrics, abs=1e-4)
        expected, actual = (load_file(each.folder / "weights.safetensors") for each in (whole, resumed))
        for name, tensor in expected.items():
            torch.testing.assert_close(actual[name], tensor, rtol=1e-3, atol=1e-4)


class KilledAfter:
    """A checkpoint writer that stops the run after some checkpoints."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def __call__(self, checkpoint: Checkpoint, path: Path) -> None:
        write_checkpoint(checkpoint, path)
        if checkpoint.progress.epochs == self.epochs:
            raise KeyboardInterrupt


def test_a_model_below_the_gate_is_not_saved(few: Path, tmp_path: Path) -> None:
    with pytest.raises(GateNotMet, match=r"--min-metric is 1\.01: not saved"):
        train(replace(QUICK, data=few, epochs=1, min_metric=1.01, work=tmp_path / "work"), store=tmp_path / "models")
    assert versions("image", store=tmp_path / "models") == []


def test_runtimes_that_disagree_are_not_saved(few: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityNotMet, match="--min-agreement"):
        train(replace(QUICK, data=few, epochs=1, min_agreement=1.01, work=tmp_path / "work"), store=tmp_path / "models")
    assert versions("image", store=tmp_path / "models") == []


def test_a_folder_that_cannot_be_trained_on_is_refused(tmp_path: Path) -> None:
    def refused(folder: str, match: str) -> None:
        with pytest.raises(DataInvalid, match=match) as caught:
            train(replace(QUICK, data=tmp_path / folder, work=tmp_path / "work"), store=tmp_path / "models")
        assert str(tmp_path) not in str(caught.value)

    refused("none", "no folder 'none'")
    (tmp_path / "empty").mkdir()
    refused("empty", "holds no folder")
    write_digits(tmp_path / "one", classes=1, most=5)
    refused("one", "holds one class, '0'")
    write_digits(tmp_path / "thin", classes=2, most=3)
    for file in sorted((tmp_path / "thin" / "1").iterdir())[1:]:
        file.unlink()
    refused("thin", "class '1' needs at least 2 images, .*, and has 1")


def test_all_files_that_are_no_images_are_listed(tmp_path: Path) -> None:
    write_digits(tmp_path, classes=2, most=4)
    of = np.zeros(3, np.int64)
    files = tuple(tmp_path / "1" / f"{number}.png" for number in range(3))
    for file in files[:2]:
        file.write_bytes(b"not an image")
    files[2].write_bytes(b"\x89PNG\r\n\x1a\n")
    folder = ImageFolder(tmp_path, ("0", "1"), files, of, DataSource("x", "0" * 64, 3))
    with pytest.raises(DataInvalid, match="3 of the files cannot be used; repair or remove them") as caught:
        decode_files(folder, [0, 1, 2], preprocessing_of(QUICK.arch, None), tmp_path / "work" / "seen.npy")
    assert all(f"'1/{number}.png': " in str(caught.value) for number in range(3))
    assert list((tmp_path / "work").iterdir()) == []


def test_files_of_desktops_are_ignored(few: Path, tmp_path: Path) -> None:
    root = write_digits(tmp_path / "littered", classes=2, most=6)
    (root / "0" / "Thumbs.db").write_bytes(b"x")
    (root / "1" / ".DS_Store").write_bytes(b"x")
    (root / ".cache").mkdir()
    artifact = train(replace(QUICK, data=root, epochs=1, work=tmp_path / "work"), store=tmp_path / "models")
    assert artifact.card.data.rows == 12


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"arch": "resnet19"}, "unknown --arch 'resnet19'.*resnet18"),
        ({"weights": "missing.pth"}, r"no file 'missing\.pth'"),
        ({"validation": 0.0}, "--validation"),
        ({"epochs": 0}, "--epochs"),
        ({"size": 4}, "--size"),
        ({"name": "My model"}, "'My model' is not a valid artifact name"),
    ],
)
def test_invalid_options_are_refused(few: Path, tmp_path: Path, change: dict[str, object], match: str) -> None:
    with pytest.raises((DataInvalid, ArtifactInvalid), match=match):
        train(replace(QUICK, data=few, **change), store=tmp_path / "models")  # type: ignore[arg-type]


def test_weights_that_cannot_be_downloaded_are_known_before_training(
    few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timeouts: list[float] = []

    def refuse(*_: object, timeout: float) -> None:
        timeouts.append(timeout)
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(few / "none"))
    with pytest.raises(DataInvalid, match=r"no route to host\. Without that host: --arch efficientnet_lite0"):
        train(replace(QUICK, arch="resnet18", weights="default", data=few))
    assert 0 < timeouts[0] <= 30
    printed = capsys.readouterr().err
    assert "published weights of resnet18, 45 MB, from https://download.pytorch.org/models/resnet18" in printed
    assert "read" not in printed


def test_the_parts_of_a_split_are_trained_on_and_validated_on(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, path in enumerate(sorted(few.glob("*/*.png"))):
        target = tmp_path / "parts" / ("val" if number % 4 == 0 else "train") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    params = replace(QUICK, data=tmp_path / "parts", head_epochs=0, work=tmp_path / "work")
    card = train(params, store=tmp_path / "models").card
    assert card.classes == ("0", "1", "2")
    assert sum(part["support"] for part in card.slices.values()) == 15
    printed = capsys.readouterr().err
    assert "decode 45 images to train on and 15 to validate on" in printed
    assert re.search(r"epoch 1/2 \(whole network\): .*, about \d+ s left at most", printed)


def test_weights_that_would_run_code_are_refused(few: Path, tmp_path: Path) -> None:
    file = tmp_path / "evil.pth"
    torch.save({"w": Path("/")}, file)
    with pytest.raises(DataInvalid, match=r"'evil\.pth' is not a readable state dict"):
        train(replace(QUICK, data=few, weights=str(file)), store=tmp_path / "models")


def test_weights_of_another_network_are_refused(few: Path, tmp_path: Path) -> None:
    file = tmp_path / "resnet.safetensors"
    save_file(build_network("resnet18", 5).state_dict(), file)
    with pytest.raises(DataInvalid, match="not those of mobilenet_v2"):
        train(replace(QUICK, data=few, weights=str(file)), store=tmp_path / "models")


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "mobilenet_v2"])
def test_networks_of_torchvision_are_saved_and_served(arch: str, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    params = Params(arch=arch, weights="none", labels=labels, size=32, min_agreement=0.0, precision="f32", name=arch)
    artifact = train(params, store=tmp_path / "models")
    served = ImageClassifier.load(artifact, threads=2, device="cpu")
    reference = ImageClassifier.load(artifact, device="torch:cpu")
    assert served.labels == ("a", "b", "c")
    rows = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(served.predict(rows), reference.predict(rows), atol=1e-4)


def test_training_stops_without_improvement_or_without_errors() -> None:
    plan = Plan(epochs=20, head_epochs=2, head_rate=1e-3, rate=1e-3, batch=8, patience=3, seed=0)

    def after(*top1: float, since_best: int = 0) -> bool:
        history = [{"epoch": index + 1, "top1": share} for index, share in enumerate(top1)]
        return is_finished(Progress(epochs=len(top1), since_best=since_best, history=history), plan)

    assert after(1.0, 1.0, 1.0)
    assert after(0.9, 0.9, 0.9, since_best=3)
    assert not after(0.9, 1.0, 1.0)
    assert not after(1.0, 0.9, 1.0)
    assert not after(0.9, 0.9, 0.9, since_best=2)
    # The last layer alone is not all that can be trained.
    assert not after(1.0, 1.0)
    assert not after(0.9, 0.9, since_best=3)


def test_each_class_is_validated_on_in_its_share() -> None:
    of = np.repeat([0, 1, 2], [50, 10, 2])
    seen, held_out = split(of, share=0.2, seed=3)
    assert np.bincount(of[held_out]).tolist() == [10, 2, 1]
    assert sorted([*seen, *held_out]) == list(range(62))
    assert not np.array_equal(held_out, split(of, share=0.2, seed=4)[1])
    np.testing.assert_array_equal(held_out, split(of, share=0.2, seed=3)[1])

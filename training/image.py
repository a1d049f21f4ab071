"""Train a classifier of images: `python -m training.image`, by default EfficientNet-Lite0 as published for ImageNet.

`--data FOLDER`, one folder of images per class, fine-tunes it on anyone's classes. The artifact carries the weights,
the OpenVINO graph that is served on a CPU, the preprocessing, and how far the two runtimes agree.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models.card import Card, Column, DataSource, Metrics, Scalar
from models.errors import DataInvalid, GateNotMet
from models.networks import LITE0, InPixels
from models.pixels import Pixels, Preprocessing
from models.store import Artifact, find, saving
from training.augmentation import Strength, augmentation
from training.by_class import by_class, confusion
from training.command import option, run
from training.finetune import Plan, Split, finetune
from training.image_export import Agreement, agree, write_network
from training.image_folder import ImageFolder, decode_files, read_image_folder, split, uncropped
from training.image_precision import LARGEST_CALIBRATION, quantize
from training.image_scores import (
    image_profile,
    photograph_scores,
    scores,
    write_confusion,
)
from training.image_weights import (
    DEFAULT,
    IMAGENET_LABELS,
    NONE,
    Weights,
    network_with,
    preprocessing_of,
    read_weights,
)
from training.packages import cache_folder
from training.photographs import PHOTOGRAPHS, photographs_sha256, views
from training.recipes import noted
from training.report import console, library_versions, print_summary, step, write_report

# Of ImageNet's validation images, as Google's table of EfficientNet-Lite gives it. Nobody measured it here.
_LITE0_PUBLISHED_TOP1 = 0.751
# The parameter of a card that says how many features an embedding has; 0 is none.
EMBEDDING = "embedding"
_LIBRARIES = ("torch", "torchvision", "openvino", "pillow", "simplejpeg", "safetensors")


@dataclass(frozen=True)
class Params:
    """Options of `python -m training.image`."""

    arch: str = option(LITE0, "network: efficientnet_lite0, or any image classifier of torchvision")
    weights: str = option(DEFAULT, "what to start from: default (published), a .safetensors or .pth file, or none")
    labels: Path | None = option(
        None, "text file with one label per line, for weights of other classes than ImageNet's"
    )
    data: Path | None = option(None, "folder with one folder of images per class, to fine-tune on")
    size: int | None = option(None, "side of the square that the network sees, in pixels; the network's own if none")
    validation: float = option(0.2, "share of each class that is held out to measure the model")
    augment: Strength = option("full", "how far training images are varied", choices=("none", "light", "full"))
    flip: bool = option(True, "mirror training images left to right")
    epochs: int = option(12, "passes over the training images, at most")
    head_epochs: int = option(2, "the first of them, which train the last layer alone; 0 when starting from none")
    head_rate: float = option(3e-3, "learning rate of the last layer alone")
    rate: float = option(1e-3, "highest learning rate of the whole network")
    batch: int = option(32, "images in one step")
    patience: int = option(4, "epochs without getting better, or without a mistake, after which training stops")
    min_metric: float | None = option(
        None, "refuse to save below this top-1 on held-out images (with --data) or on the named photographs"
    )
    min_agreement: float = option(0.995, "refuse to save when the two runtimes agree on the top class in fewer images")
    precision: Literal["auto", "f32", "bf16", "int8"] = option(
        "auto",
        "what OpenVINO computes in: auto is bf16 if it agrees, else f32; int8 is calibrated on the training images",
        choices=("auto", "f32", "bf16", "int8"),
    )
    work: Path | None = option(None, "folder of the checkpoint that a killed run goes on from; in the cache if none")
    seed: int = option(0, "seed of every random choice")
    name: str = option("image", "name of the artifact")


@dataclass(frozen=True, slots=True)
class _Made:
    """A network ready to be saved, and what it is judged by: pixels and, of fine-tuned ones, their classes."""

    model: InPixels
    classes: tuple[str, ...]
    source: DataSource
    judged_on: Pixels
    of: NDArray[np.int64] | None
    calibration: Callable[[], Pixels]
    epochs: int = 0


def main(params: Params) -> None:
    """Train, save and print a summary."""
    artifact = train(params)
    print_summary(artifact.card, tag=artifact.tag, folder=artifact.folder)


def train(params: Params, *, store: Path | None = None) -> Artifact:
    """Make the classifier that `params` describes and save it into `store`.

    Raises DataInvalid, GateNotMet or ParityNotMet; then nothing is saved.
    """
    _check(params)
    torch.manual_seed(params.seed)
    preprocessing = preprocessing_of(params.arch, params.size)
    with step(f"weights of {params.arch}: {Path(params.weights).name}"):
        weights = read_weights(params.arch, params.weights)
    if params.data is None:
        return _save(params, _published(params, weights, preprocessing), preprocessing, store)
    with step(f"read {params.data.name}"):
        folder = read_image_folder(params.data)
        console.print(f"  {len(folder.files):,} images of {len(folder.classes)} classes", markup=False)
    work = params.work or cache_folder() / "training" / _run_name(params, folder)
    artifact = _save(params, _finetuned(params, weights, preprocessing, folder, work), preprocessing, store)
    shutil.rmtree(work, ignore_errors=True)
    return artifact


def _check(params: Params) -> None:
    if not 0.01 <= params.validation <= 0.9:
        raise DataInvalid(f"--validation {params.validation:g} is not within 0.01 and 0.9")
    for name in ("epochs", "batch", "patience"):
        if getattr(params, name) < 1:
            raise DataInvalid(f"--{name} is {getattr(params, name)}; it must be at least 1")
    if params.labels is not None and not params.labels.is_file():
        raise DataInvalid(f"--labels: there is no file '{params.labels.name}'")


def _published(params: Params, weights: Weights | None, preprocessing: Preprocessing) -> _Made:
    labels = IMAGENET_LABELS
    if params.labels is not None:
        labels = tuple(line.strip() for line in params.labels.read_text().splitlines() if line.strip())
    if weights is not None and weights.classes != len(labels):
        raise DataInvalid(f"the weights are of {weights.classes} classes and there are {len(labels)} labels: --labels")
    network = network_with(params.arch, weights, len(labels))
    model = _in_pixels(network, preprocessing)
    source = DataSource("ImageNet-1k (weights as published)", photographs_sha256(), len(PHOTOGRAPHS))
    if params.weights != DEFAULT:
        source = DataSource(f"weights: {Path(params.weights).name}", photographs_sha256(), len(PHOTOGRAPHS))
    # Other crops than the judged ones: what int8 is calibrated on must not flatter it.
    calibration = partial(_calibration_views, preprocessing)
    return _Made(model, labels, source, views(preprocessing).pixels, None, calibration)


def _finetuned(
    params: Params, weights: Weights | None, preprocessing: Preprocessing, folder: ImageFolder, work: Path
) -> _Made:
    seen, held_out = split(folder.of, share=params.validation, seed=params.seed)
    with step(f"decode {len(seen):,} images to train on and {len(held_out):,} to validate on"):
        data = Split(
            decode_files(folder, seen.tolist(), uncropped(preprocessing), work / "seen.npy"),
            folder.of[seen],
            decode_files(folder, held_out.tolist(), preprocessing, work / "held-out.npy"),
            folder.of[held_out],
        )
    network = network_with(params.arch, weights, len(folder.classes))
    with step(f"fine-tune for up to {params.epochs} epochs"):
        progress = finetune(
            network,
            data,
            _plan(params),
            preprocessing,
            augmentation(params.augment, mirrors=params.flip),
            work / "checkpoint.safetensors",
        )
    model = _in_pixels(network, preprocessing)
    few = np.random.default_rng(params.seed).permutation(seen)[:LARGEST_CALIBRATION]
    calibration = partial(decode_files, folder, few.tolist(), preprocessing, work / "calibration.npy")
    return _Made(
        model, folder.classes, folder.source, data.held_out, data.held_out_of, calibration, epochs=progress.epochs
    )


def _calibration_views(preprocessing: Preprocessing) -> Pixels:
    return views(preprocessing, shares=(0.9, 0.5)).pixels


def _save(params: Params, made: _Made, preprocessing: Preprocessing, store: Path | None) -> Artifact:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with step("convert to OpenVINO"):
            embedding = write_network(made.model, preprocessing, folder)
        if params.precision == "int8":
            with step("quantise to int8"):
                quantize(folder, made.calibration())
        with step(f"compare OpenVINO with torch on {len(made.judged_on):,} images"):
            agreement = agree(
                made.model, folder, made.judged_on, precision=params.precision, least=params.min_agreement
            )
        metrics, slices = _measure(params, made, preprocessing, agreement.answers)
        _check_gate(params, metrics)
        of_torch, _ = _measure(params, made, preprocessing, agreement.reference)
        told = _card_params(params, made, preprocessing, agreement) | {EMBEDDING: embedding}
        card = _card(params, made, agreement, metrics, slices, told | _torch_scores(of_torch))
        with step("save"), saving(card, store=store) as target:
            for file in folder.iterdir():
                shutil.copyfile(file, target / file.name)
            write_report(card, target)
            if made.of is not None:
                write_confusion(confusion(agreement.answers, made.of), made.classes, target)
    return find(card.name, store=store)


def _measure(
    params: Params, made: _Made, preprocessing: Preprocessing, answers: NDArray[np.float32]
) -> tuple[dict[str, float], dict[str, Metrics]]:
    if made.of is not None:
        return scores(answers, made.of), by_class(answers, made.of, made.classes)
    if made.classes != IMAGENET_LABELS:
        return {}, {}
    metrics, slices = photograph_scores(answers, views(preprocessing), made.classes)
    if params.arch == LITE0 and params.weights == DEFAULT and params.size is None:
        metrics["published_top1"] = _LITE0_PUBLISHED_TOP1
    return metrics, slices


def _check_gate(params: Params, metrics: Metrics) -> None:
    if params.min_metric is None:
        return
    name, reached = next(iter(metrics.items()), ("top1", 0.0))
    if reached < params.min_metric:
        raise GateNotMet(f"{name} is {reached:.4f}, --min-metric is {params.min_metric:g}: not saved")


def _card(
    params: Params,
    made: _Made,
    agreement: Agreement,
    metrics: Metrics,
    slices: dict[str, Metrics],
    told: dict[str, Scalar],
) -> Card:
    return Card(
        name=params.name,
        task="image-classification",
        algorithm=params.arch,
        created=datetime.now(UTC),
        inputs=(Column("image", "image", "a photograph: JPEG, PNG, WebP, GIF (first frame) or BMP"),),
        outputs=(
            Column("label", "category", "the likeliest class", categories=made.classes),
            Column("confidence", "number", "its probability", minimum=0.0, maximum=1.0),
        ),
        metrics=metrics,
        data=made.source,
        classes=made.classes,
        description=_description(params, made),
        slices=slices,
        params=told,
        libraries=library_versions(*_LIBRARIES, *(["nncf"] if agreement.precision == "int8" else [])),
        parity=agreement.parity,
        profile=image_profile(made.judged_on, agreement.answers, made.classes),
    )


def _card_params(params: Params, made: _Made, preprocessing: Preprocessing, agreement: Agreement) -> dict[str, Scalar]:
    given: dict[str, Scalar] = {
        name: Path(value).name if name in ("weights", "labels", "data") and value else value
        for name, value in asdict(params).items()
        if name not in ("work", "name", "precision")
    }
    shares: dict[str, Scalar] = {f"agreement_{name}": share for name, share in agreement.by_precision.items()}
    shares |= {f"agreement_where_clear_{name}": share for name, share in agreement.clear.items()}
    size = f"{preprocessing.resize} to {preprocessing.crop}, {preprocessing.interpolation}"
    given |= {**noted("image"), "epochs_run": made.epochs, "input": size, "precision": agreement.precision}
    return given | shares


def _torch_scores(of_torch: Metrics) -> dict[str, Scalar]:
    """What torch in float32 reaches on the same images: what the served precision costs is the difference."""
    return {f"torch_{name}": value for name, value in of_torch.items() if not name.startswith("published")}


def _description(params: Params, made: _Made) -> str:
    if made.of is not None:
        return (
            f"{params.arch} fine-tuned from {_origin(params)} on {made.source.rows:,} images of {len(made.classes)} "
            f"classes; metrics are of {len(made.of):,} images held out."
        )
    photographs = ", ".join(each.name for each in PHOTOGRAPHS if each.labels)
    return (
        f"{params.arch} with {_origin(params)}. `published_top1` is what its authors report for ImageNet's validation "
        f"images, not measured here. `photographs_top1` and `_top3` are measured, on {photographs} and crops of them: "
        "whether it sees what is there, not how often it is right."
    )


def _origin(params: Params) -> str:
    origins = {DEFAULT: "published ImageNet weights", NONE: "random weights"}
    return origins.get(params.weights, f"the weights {Path(params.weights).name}")


def _in_pixels(network: torch.nn.Module, preprocessing: Preprocessing) -> InPixels:
    model = InPixels(network, preprocessing.mean, preprocessing.std).eval()
    try:
        with torch.inference_mode():
            model(torch.zeros((1, *preprocessing.shape), dtype=torch.uint8))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise DataInvalid(f"this network does not take images of {preprocessing.crop} pixels: {error}") from error
    return model


def _plan(params: Params) -> Plan:
    return Plan(
        epochs=params.epochs,
        head_epochs=0 if params.weights == NONE else min(params.head_epochs, params.epochs),
        head_rate=params.head_rate,
        rate=params.rate,
        batch=params.batch,
        patience=params.patience,
        seed=params.seed,
    )


def _run_name(params: Params, folder: ImageFolder) -> str:
    """The same options on the same images go on from each other's checkpoint, and no others."""
    told = [f"{name}={value}" for name, value in sorted(asdict(params).items()) if name not in ("work", "min_metric")]
    return hashlib.sha256("\n".join([*told, folder.source.sha256]).encode()).hexdigest()[:16]


if __name__ == "__main__":
    run(main, Params, description="Make a classifier of images: the published one, or one of your own classes.")

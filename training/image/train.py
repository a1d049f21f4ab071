"""Train an image classifier: `python -m training.image`, by default EfficientNet-Lite0 as published for ImageNet.

`--data FOLDER`, with one folder of images per class, fine-tunes it on other classes. The artifact holds the weights,
the OpenVINO graph that is served on a CPU, the preprocessing, and the agreement of the two runtimes.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.card import DataSource, Metrics
from models.errors import DataInvalid, GateNotMet
from models.image.networks import LITE0, PixelClassifier
from models.image.preprocessing import Pixels, Preprocessing
from models.store.artifacts import Artifact
from training.class_metrics import by_class, confusion
from training.image.augmentation import augmentation
from training.image.card import TrainedNetwork, build
from training.image.evaluation import photograph_scores, scores, write_confusion
from training.image.export import agree, write_network
from training.image.finetune import Plan, Split, finetune
from training.image.folder import ImageFolder, decode_files, read_image_folder, uncropped
from training.image.params import Params, check
from training.image.photographs import PHOTOGRAPHS, photographs_sha256, views
from training.image.precision import LARGEST_CALIBRATION, quantize
from training.image.weights import DEFAULT, IMAGENET_LABELS, NONE, Weights, network_with, preprocessing_of, read_weights
from training.packages import cache_folder
from training.promotion import saving_version
from training.report import console, print_summary, step, write_report

# On ImageNet's validation images, from Google's table of EfficientNet-Lite; not measured here.
_LITE0_PUBLISHED_TOP1 = 0.751


def main(params: Params) -> None:
    """Train, save and print a summary."""
    artifact = train(params)
    print_summary(artifact.card, tag=artifact.tag, folder=artifact.folder)


def train(params: Params, *, store: Path | None = None) -> Artifact:
    """Train the classifier that `params` describes and save it into `store`.

    Raises DataInvalid, GateNotMet or ParityNotMet; then nothing is saved.
    """
    check(params)
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


def _published(params: Params, weights: Weights | None, preprocessing: Preprocessing) -> TrainedNetwork:
    labels = IMAGENET_LABELS
    if params.labels is not None:
        labels = tuple(line.strip() for line in params.labels.read_text().splitlines() if line.strip())
    if weights is not None and weights.classes != len(labels):
        raise DataInvalid(f"the weights have {weights.classes} classes, but there are {len(labels)} labels: --labels")
    network = network_with(params.arch, weights, len(labels))
    model = _in_pixels(network, preprocessing)
    source = DataSource("ImageNet-1k (weights as published)", photographs_sha256(), len(PHOTOGRAPHS))
    if params.weights != DEFAULT:
        source = DataSource(f"weights: {Path(params.weights).name}", photographs_sha256(), len(PHOTOGRAPHS))
    # Calibration of int8 uses other crops than the evaluation, so that the metrics stay honest.
    calibration = partial(_calibration_views, preprocessing)
    return TrainedNetwork(model, labels, source, views(preprocessing).pixels, None, calibration)


def _finetuned(
    params: Params, weights: Weights | None, preprocessing: Preprocessing, folder: ImageFolder, work: Path
) -> TrainedNetwork:
    seen, held_out = folder.split(share=params.validation, seed=params.seed)
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
    sample = np.random.default_rng(params.seed).permutation(seen)[:LARGEST_CALIBRATION]
    calibration = partial(decode_files, folder, sample.tolist(), preprocessing, work / "calibration.npy")
    return TrainedNetwork(
        model, folder.classes, folder.source, data.held_out, data.held_out_of, calibration, epochs=progress.epochs
    )


def _calibration_views(preprocessing: Preprocessing) -> Pixels:
    return views(preprocessing, shares=(0.9, 0.5)).pixels


def _save(params: Params, trained: TrainedNetwork, preprocessing: Preprocessing, store: Path | None) -> Artifact:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with step("convert to OpenVINO"):
            embedding = write_network(trained.model, preprocessing, folder)
        if params.precision == "int8":
            with step("quantise to int8"):
                quantize(folder, trained.calibration())
        with step(f"compare OpenVINO with torch on {len(trained.test_pixels):,} images"):
            agreement = agree(
                trained.model, folder, trained.test_pixels, precision=params.precision, least=params.min_agreement
            )
        metrics, slices = _measure(params, trained, preprocessing, agreement.answers)
        _check_gate(params, metrics)
        of_torch, _ = _measure(params, trained, preprocessing, agreement.reference)
        card = build(
            params,
            trained,
            agreement,
            preprocessing=preprocessing,
            metrics=metrics,
            slices=slices,
            of_torch=of_torch,
            embedding=embedding,
        )
        with step("save"), saving_version(card, is_forced=params.promote, store=store) as saved:
            for file in folder.iterdir():
                shutil.copyfile(file, saved.folder / file.name)
            write_report(card, saved.folder)
            if trained.test_of is not None:
                write_confusion(confusion(agreement.answers, trained.test_of), trained.classes, saved.folder)
    return saved.artifact


def _measure(
    params: Params, trained: TrainedNetwork, preprocessing: Preprocessing, answers: NDArray[np.float32]
) -> tuple[dict[str, float], dict[str, Metrics]]:
    if trained.test_of is not None:
        return scores(answers, trained.test_of), by_class(answers, trained.test_of, trained.classes)
    if trained.classes != IMAGENET_LABELS:
        return {}, {}
    metrics, slices = photograph_scores(answers, views(preprocessing), trained.classes)
    if params.arch == LITE0 and params.weights == DEFAULT and params.size is None:
        metrics["published_top1"] = _LITE0_PUBLISHED_TOP1
    return metrics, slices


def _check_gate(params: Params, metrics: Metrics) -> None:
    if params.min_metric is None:
        return
    name, reached = next(iter(metrics.items()), ("top1", 0.0))
    if reached < params.min_metric:
        raise GateNotMet(f"{name} is {reached:.4f}, --min-metric is {params.min_metric:g}: not saved")


def _in_pixels(network: torch.nn.Module, preprocessing: Preprocessing) -> PixelClassifier:
    model = PixelClassifier(network, preprocessing.mean, preprocessing.std).eval()
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
    """Return the name of a checkpoint folder: equal for equal options and images, so that a killed run continues."""
    options = [
        f"{name}={value}"
        for name, value in sorted(asdict(params).items())
        if name not in ("work", "min_metric", "promote")
    ]
    return hashlib.sha256("\n".join([*options, folder.source.sha256]).encode()).hexdigest()[:16]

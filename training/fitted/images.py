"""Saving of a `torch.nn.Module` that classifies images, with the preprocessing and the softmax that surround it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import torch

from models.card import Card, DataSource
from models.errors import DataInvalid, ParityNotMet
from models.image.classifier import ImageClassifier
from models.image.networks import PixelClassifier
from models.image.preprocessing import Preprocessing
from models.image.torch_runtime import WEIGHTS_FILE
from models.store.artifacts import Artifact
from training.class_metrics import by_class
from training.fitted.options import SaveOptions
from training.fitted.refusal import WAY_OUT, first_line, not_convertible
from training.fitted.tables import MAX_DIFFERENCE, check_gate, fingerprint
from training.fitted.targets import class_numbers, true_values
from training.image.card import TrainedNetwork, build
from training.image.evaluation import scores
from training.image.export import Agreement, agree, write_network
from training.image.params import Params
from training.image.photographs import views
from training.promotion import saving_version
from training.report import print_summary, write_report

# Of the shorter side of a photograph to that of the square in it, as for ImageNet.
_RESIZE = 256 / 224


def save_image_network(module: torch.nn.Module, given: Any, y: Any, options: SaveOptions) -> Artifact:
    """Save a network of normalized images (N, 3, H, H), whose outputs are the scores of `options.classes`.

    Raises DataInvalid, NotConvertible, ParityNotMet or GateNotMet.
    """
    images = torch.as_tensor(given, dtype=torch.float32)
    truth = true_values(y, rows=len(images))
    side = int(images.shape[-1])
    if images.shape[-2] != side:
        raise DataInvalid(f"X holds images of {images.shape[-2]} x {side} pixels; only squares are served")
    preprocessing = Preprocessing(resize=max(side, round(side * _RESIZE)), crop=side)
    name = type(module).__name__
    was_training = module.training
    module.eval()
    try:
        answers = _scores(module, images, len(options.classes), name)
        with tempfile.TemporaryDirectory() as scratch:
            return _save(module, options, preprocessing, Path(scratch), images, answers, truth)
    finally:
        module.train(was_training)


def _scores(module: torch.nn.Module, images: torch.Tensor, classes: int, name: str) -> Any:
    try:
        with torch.inference_mode():
            outputs = module(images)
    except Exception as error:  # torch raises many types
        raise DataInvalid(f"{name} does not take the images of X: {first_line(error)}") from error
    if not isinstance(outputs, torch.Tensor) or outputs.shape != (len(images), classes):
        shape = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise DataInvalid(f"{name} returns {shape}, and {classes} classes are named")
    sums = outputs.sum(dim=1)
    if outputs.min() >= 0 and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        raise not_convertible(f"{name} returns probabilities", instead="return scores, without the softmax at its end")
    return torch.softmax(outputs.double(), dim=1).numpy()


def _save(
    module: torch.nn.Module,
    options: SaveOptions,
    preprocessing: Preprocessing,
    folder: Path,
    images: torch.Tensor,
    answers: Any,
    truth: Any,
) -> Artifact:
    model, agreement, embedding = _converted(module, preprocessing, folder)
    card = _card(options, preprocessing, images, answers, truth, (model, agreement, embedding))
    check_gate(card, options)
    with saving_version(card, is_forced=options.promote, store=options.store) as saved:
        for file in folder.iterdir():
            copyfile(file, saved.folder / file.name)
        write_report(card, saved.folder)
        loaded = ImageClassifier.load(Artifact(card.name, saved.folder.name, saved.folder, card), device="cpu")
        loaded.predict(loaded.example())
    artifact = saved.artifact
    print_summary(artifact.card, tag=artifact.tag, folder=artifact.folder)
    return artifact


def _converted(
    module: torch.nn.Module, preprocessing: Preprocessing, folder: Path
) -> tuple[PixelClassifier, Agreement, int]:
    """Write the network into `folder`. Return it, its agreement with OpenVINO, and the width of its embedding."""
    model = PixelClassifier(module, preprocessing.mean, preprocessing.std).eval()
    try:
        embedding = write_network(model, preprocessing, folder)
    except Exception as error:  # OpenVINO raises many types
        raise not_convertible(f"{type(module).__name__} cannot be converted ({first_line(error)})") from error
    # A GPU would need the class of the network.
    (folder / WEIGHTS_FILE).unlink()
    agreement = agree(model, folder, views(preprocessing).pixels, precision="f32", least=Params().min_agreement)
    if agreement.parity.max_difference > MAX_DIFFERENCE:
        raise ParityNotMet(
            f"OpenVINO and {type(module).__name__} differ by {agreement.parity.max_difference:.1e}, more than "
            f"{MAX_DIFFERENCE:.0e}: not saved; {WAY_OUT}"
        )
    return model, agreement, embedding


def _card(
    options: SaveOptions,
    preprocessing: Preprocessing,
    images: torch.Tensor,
    answers: Any,
    truth: Any,
    converted: tuple[PixelClassifier, Agreement, int],
) -> Card:
    model, agreement, embedding = converted
    pixels = views(preprocessing).pixels
    labels = [str(number) for number in range(len(options.classes))]
    numbers = None if truth is None else class_numbers(truth[:, 0], options.classes, labels)
    content = np.ascontiguousarray(images.numpy()).tobytes()
    source = DataSource("images given to save()", fingerprint(content), len(images))
    trained = TrainedNetwork(model, options.classes, source, pixels, None, partial(np.copy, pixels))
    card = build(
        Params(arch=type(model.network).__name__, name=options.name),
        trained,
        agreement,
        preprocessing=preprocessing,
        metrics={} if numbers is None else scores(answers.astype(np.float32), numbers),
        slices={} if numbers is None else by_class(answers, numbers, options.classes),
        of_torch={},
        embedding=embedding,
    )
    text = options.description or f"{card.algorithm} over images of {preprocessing.crop} pixels, given to save()."
    kept = ("input", "precision", "embedding")
    params = {name: value for name, value in card.params.items() if name in kept or name.startswith("agreement")}
    return replace(card, description=text, params={"saved_by": "save", **params})

"""The card of an image classifier: its weights and data, its metrics and the options of its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.card import Card, Column, DataSource, Metrics, Scalar
from models.image.networks import PixelClassifier
from models.image.preprocessing import Pixels, Preprocessing
from training.image.evaluation import image_profile
from training.image.export import Agreement
from training.image.params import Params
from training.image.photographs import PHOTOGRAPHS
from training.image.recipe import RECIPE
from training.image.weights import DEFAULT, NONE
from training.report import library_versions

# The parameter of a card that holds the width of the embedding; 0 without one.
EMBEDDING = "embedding"
_LIBRARIES = ("torch", "torchvision", "openvino", "pillow", "simplejpeg", "safetensors")


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """A network ready to be saved, and the images to evaluate it on.

    `test_of` are the classes of the test images of a fine-tuned network, None for published weights.
    """

    model: PixelClassifier
    classes: tuple[str, ...]
    source: DataSource
    test_pixels: Pixels
    test_of: NDArray[np.int64] | None
    calibration: Callable[[], Pixels]
    epochs: int = 0


def build(
    params: Params,
    trained: TrainedNetwork,
    agreement: Agreement,
    *,
    preprocessing: Preprocessing,
    metrics: Metrics,
    slices: dict[str, Metrics],
    of_torch: Metrics,
    embedding: int,
) -> Card:
    """Return the card of a network. `metrics` are of the served runtime, `of_torch` of torch on the same images.

    `embedding` is the width of the embedding, 0 without one.
    """
    return Card(
        name=params.name,
        task="image-classification",
        algorithm=params.arch,
        created=datetime.now(UTC),
        inputs=(Column("image", "image", "a photograph: JPEG, PNG, WebP, GIF (first frame) or BMP"),),
        outputs=(
            Column("label", "category", "the likeliest class", categories=trained.classes),
            Column("confidence", "number", "its probability", minimum=0.0, maximum=1.0),
        ),
        metrics=metrics,
        data=trained.source,
        classes=trained.classes,
        description=_description(params, trained),
        slices=slices,
        params=_parameters(params, trained, agreement, preprocessing)
        | _torch_scores(of_torch)
        | {EMBEDDING: embedding},
        libraries=library_versions(*_LIBRARIES, *(["nncf"] if agreement.precision == "int8" else [])),
        parity=agreement.parity,
        profile=image_profile(trained.test_pixels, agreement.answers, trained.classes),
    )


def _parameters(
    params: Params, trained: TrainedNetwork, agreement: Agreement, preprocessing: Preprocessing
) -> dict[str, Scalar]:
    parameters: dict[str, Scalar] = {
        name: Path(value).name if name in ("weights", "labels", "data") and value else value
        for name, value in asdict(params).items()
        if name not in ("work", "name", "precision", "promote")
    }
    shares: dict[str, Scalar] = {f"agreement_{name}": share for name, share in agreement.by_precision.items()}
    shares |= {f"agreement_where_clear_{name}": share for name, share in agreement.clear.items()}
    size = f"{preprocessing.resize} to {preprocessing.crop}, {preprocessing.interpolation}"
    parameters |= {
        **RECIPE.card_parameters(),
        "epochs_run": trained.epochs,
        "input": size,
        "precision": agreement.precision,
    }
    return parameters | shares


def _torch_scores(of_torch: Metrics) -> dict[str, Scalar]:
    """Return the metrics of torch in float32 on the same images, to compare with the served precision."""
    return {f"torch_{name}": value for name, value in of_torch.items() if not name.startswith("published")}


def _description(params: Params, trained: TrainedNetwork) -> str:
    if trained.test_of is not None:
        return (
            f"{params.arch} fine-tuned from {_origin(params)} on {trained.source.rows:,} images of "
            f"{len(trained.classes)} classes; metrics are of {len(trained.test_of):,} images held out."
        )
    photographs = ", ".join(photograph.name for photograph in PHOTOGRAPHS if photograph.labels)
    return (
        f"{params.arch} with {_origin(params)}. `published_top1` is reported by its authors for ImageNet's validation "
        f"images, not measured here. `photographs_top1` and `_top3` are measured on {photographs} and crops of them. "
        "They show whether it recognises objects, and are no estimate of its accuracy."
    )


def _origin(params: Params) -> str:
    origins = {DEFAULT: "published ImageNet weights", NONE: "random weights"}
    return origins.get(params.weights, f"the weights {Path(params.weights).name}")

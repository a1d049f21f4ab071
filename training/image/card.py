"""The card of an image classifier: what it was made of, how good it is, what it was given. Knows no file."""

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
from training.image.weights import DEFAULT, NONE
from training.recipes import noted
from training.report import library_versions

# The parameter of a card that says how many features an embedding has; 0 is none.
EMBEDDING = "embedding"
_LIBRARIES = ("torch", "torchvision", "openvino", "pillow", "simplejpeg", "safetensors")


@dataclass(frozen=True, slots=True)
class Made:
    """A network ready to be saved, and what it is judged by: pixels and, of fine-tuned ones, their classes."""

    model: PixelClassifier
    classes: tuple[str, ...]
    source: DataSource
    judged_on: Pixels
    of: NDArray[np.int64] | None
    calibration: Callable[[], Pixels]
    epochs: int = 0


def build(
    params: Params,
    made: Made,
    agreement: Agreement,
    *,
    preprocessing: Preprocessing,
    metrics: Metrics,
    slices: dict[str, Metrics],
    of_torch: Metrics,
    embedding: int,
) -> Card:
    """The card of `made`. `metrics` are of the served runtime, `of_torch` those of torch on the same images.

    `embedding` is how many features the network gives of an image beside its answer; 0 is none.
    """
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
        params=_told(params, made, agreement, preprocessing) | _torch_scores(of_torch) | {EMBEDDING: embedding},
        libraries=library_versions(*_LIBRARIES, *(["nncf"] if agreement.precision == "int8" else [])),
        parity=agreement.parity,
        profile=image_profile(made.judged_on, agreement.answers, made.classes),
    )


def _told(params: Params, made: Made, agreement: Agreement, preprocessing: Preprocessing) -> dict[str, Scalar]:
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


def _description(params: Params, made: Made) -> str:
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

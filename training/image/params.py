"""Command line options of image training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import DataInvalid
from models.image.networks import LITE0
from models.store.artifacts import check_name
from training.command import option
from training.image.augmentation import Strength
from training.image.weights import DEFAULT
from training.promotion import PROMOTE_HELP


@dataclass(frozen=True)
class Params:
    """Options of `python -m training.image`."""

    arch: str = option(LITE0, "network: efficientnet_lite0, or any image classifier of torchvision")
    weights: str = option(
        DEFAULT,
        f"initial weights: default (published: {LITE0} from the package index, others from download.pytorch.org), a "
        ".safetensors or .pth file, or none",
    )
    labels: Path | None = option(
        None, "text file with one label per line, for weights of other classes than ImageNet's"
    )
    data: Path | None = option(
        None, "folder with one folder of images per class, or with such folders in train and val"
    )
    size: int | None = option(None, "side of the input square in pixels; that of the network if not given")
    validation: float = option(0.2, "share of each class that is held out, unless --data has a val folder")
    augment: Strength = option(
        "full", "strength of the augmentation of training images", choices=("none", "light", "full")
    )
    flip: bool = option(True, "mirror training images left to right")
    epochs: int = option(12, "largest number of passes over the training images")
    head_epochs: int = option(2, "number of first passes that train the last layer alone; 0 with --weights none")
    head_rate: float = option(3e-3, "learning rate of the last layer alone")
    rate: float = option(1e-3, "highest learning rate of the whole network")
    batch: int = option(32, "images in one step")
    patience: int = option(4, "epochs without improvement, or without an error, after which training stops")
    min_metric: float | None = option(
        None, "refuse to save below this top-1 on held-out images (with --data) or on the named photographs"
    )
    min_agreement: float = option(
        0.995, "refuse to save when the two runtimes agree on the top class of a smaller share of images"
    )
    precision: Literal["auto", "f32", "bf16", "int8"] = option(
        "auto",
        "precision of OpenVINO: auto is bf16 if it agrees, else f32; int8 is calibrated on the training images",
        choices=("auto", "f32", "bf16", "int8"),
    )
    work: Path | None = option(
        None, "folder of the checkpoint from which a killed run continues; in the cache if not given"
    )
    seed: int = option(0, "seed of every random choice")
    name: str = option("image", "name of the artifact")
    promote: bool = option(False, PROMOTE_HELP)


def check(params: Params) -> None:
    """Check the options.

    Raises DataInvalid for options that are out of range or name a missing file, and ArtifactInvalid for an invalid
    artifact name.
    """
    check_name(params.name)
    if not 0.01 <= params.validation <= 0.9:
        raise DataInvalid(f"--validation {params.validation:g} is not within 0.01 and 0.9")
    for name in ("epochs", "batch", "patience"):
        if getattr(params, name) < 1:
            raise DataInvalid(f"--{name} is {getattr(params, name)}; it must be at least 1")
    if params.labels is not None and not params.labels.is_file():
        raise DataInvalid(f"--labels: there is no file '{params.labels.name}'")

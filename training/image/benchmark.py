"""Measure the speed of an image artifact on this machine: `python -m training.measure_image`.

It prints images per second of OpenVINO in each precision and of torch, and milliseconds to decode a JPEG with several
decoders.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from models.cores import usable_cores
from models.image.classifier import ImageClassifier
from models.image.openvino_runtime import cpu_has_bf16
from models.image.preprocessing import ImageDecoder, Preprocessing
from models.store.artifacts import find
from training.command import option
from training.image.photographs import PHOTOGRAPHS

_ROUNDS = 5
_SIZES = ((500, 375), (1024, 1024), (3000, 2000))


@dataclass(frozen=True)
class Params:
    """Options of `python -m training.measure_image`."""

    model: str = option("image:latest", "tag of the artifact")
    batches: tuple[int, ...] = option((1, 8, 32), "images in one call")


def main(params: Params) -> None:
    """Print the speed of inference and of decoding, each the best of five rounds."""
    artifact = find(params.model)
    print(f"{artifact.tag} ({artifact.card.algorithm}), {usable_cores()} cores")
    for precision in ("f32", "bf16") if cpu_has_bf16() else ("f32",):
        _print_rates(ImageClassifier.load(artifact, device="cpu", precision=precision), params.batches)
    reference = ImageClassifier.load(artifact, device="torch:cpu")
    _print_rates(reference, params.batches)
    for size in _SIZES:
        _print_decoding(size, reference.preprocessing)


def _print_rates(classifier: ImageClassifier, batches: tuple[int, ...]) -> None:
    methods = {"": classifier.predict, ", with embeddings": classifier.embed}
    for label, infer in methods.items():
        rates = []
        for rows in batches:
            pixels = np.repeat(classifier.example(), rows, axis=0)
            rates.append(f"{rows / _best_s(partial(infer, pixels)):.0f} by {rows}")
        print(f"  {classifier.runtime}{label}: images/s {', '.join(rates)}")


def _print_decoding(size: tuple[int, int], preprocessing: Preprocessing) -> None:
    photograph = next(photograph for photograph in PHOTOGRAPHS if photograph.name == "china")
    file = io.BytesIO()
    Image.open(photograph.path).resize(size).save(file, "JPEG", quality=90)
    data = file.getvalue()
    decoders: dict[str, Callable[[], object]] = {
        "Pillow": lambda: _pillow(data, preprocessing, None),
        "Pillow draft": lambda: _pillow(data, preprocessing, 2.0),
        "simplejpeg whole": lambda: ImageDecoder(preprocessing, margin=None).decode(data),
        "simplejpeg scaled": lambda: ImageDecoder(preprocessing).decode(data),
    }
    times = ", ".join(f"{name} {_best_s(decode) * 1e3:.1f}" for name, decode in decoders.items())
    print(f"  JPEG {size[0]}x{size[1]} to pixels, ms: {times}")


def _pillow(data: bytes, preprocessing: Preprocessing, margin: float | None) -> object:
    image: Image.Image = Image.open(io.BytesIO(data))
    shorter = min(image.size)
    if margin is not None:
        share = preprocessing.resize * margin / shorter
        image.draft("RGB", (int(image.width * share), int(image.height * share)))
    share = preprocessing.resize / min(image.size)
    scaled = (round(image.width * share), round(image.height * share))
    return np.asarray(image.convert("RGB").resize(scaled, Image.Resampling.BICUBIC))


def _best_s(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)

"""Export a trained network to the served files, and compare OpenVINO with torch on them."""

from __future__ import annotations

import copy
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import save_file

from models.card import Parity
from models.cores import usable_cores
from models.errors import InvalidInput, ParityNotMet
from models.image.networks import ClassifierWithEmbedding, PixelClassifier
from models.image.openvino_runtime import IR_FILE, OpenVINOEngine, cpu_has_bf16, import_openvino
from models.image.preprocessing import Pixels, Preprocessing, write_preprocessing
from models.image.torch_runtime import WEIGHTS_FILE
from training.image.finetune import probabilities
from training.image.precision import keep_front_exact
from training.report import console, library_versions

# Rounding may swap the two likeliest classes when their probabilities differ by less.
CLEAR_LEAD = 0.02
_REFERENCE_ROWS = 8


@dataclass(frozen=True, slots=True)
class Agreement:
    """The precision to serve in, its parity with torch, and the top-1 agreement of each measured precision.

    `clear` is the agreement on images whose likeliest class leads by `CLEAR_LEAD` or more. `answers` (N, C) are the
    probabilities of the chosen precision, `reference` those of torch.
    """

    precision: str
    parity: Parity
    by_precision: dict[str, float]
    clear: dict[str, float]
    answers: NDArray[np.float32]
    reference: NDArray[np.float32]


def write_network(model: PixelClassifier, preprocessing: Preprocessing, folder: Path) -> int:
    """Write weights.safetensors, model.xml with model.bin, and preprocessing.json.

    The graph has two outputs, probabilities and embedding. Return the width of the embedding, 0 without one.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS_FILE)
    write_preprocessing(preprocessing, folder)
    openvino = import_openvino()
    example = torch.zeros((2, *preprocessing.shape), dtype=torch.uint8)
    with warnings.catch_warnings():
        # The trace fixes the image size, and the network is served at that size.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.simplefilter("ignore", DeprecationWarning)
        shape = openvino.PartialShape([-1, *preprocessing.shape])
        traced, width = _with_embedding(model.eval(), example)
        converted = openvino.convert_model(traced, example_input=example, input=[shape])
    # Weights stay float32: in float16 EfficientNet-Lite0 agrees in 99.48 % of 960 views, in float32 in all.
    openvino.save_model(converted, folder / IR_FILE, compress_to_fp16=False)
    keep_front_exact(folder)
    return width


def _with_embedding(model: PixelClassifier, example: torch.Tensor) -> tuple[torch.nn.Module, int]:
    try:
        # A copy, because its hook must not stay on the model that is measured.
        both = ClassifierWithEmbedding(copy.deepcopy(model)).eval()
        with torch.inference_mode():
            return both, int(both(example)[1].shape[1])
    except InvalidInput as error:
        console.print(f"  no embedding: {error}", markup=False)
        return model, 0


def agree(model: PixelClassifier, folder: Path, pixels: Pixels, *, precision: str, least: float) -> Agreement:
    """Compare the network in `folder` with torch on `pixels`.

    With precision "auto" bf16 is served if its top-1 agrees on `least` of the images, else f32. Raises ParityNotMet
    when no precision agrees.
    """
    reference = _reference(model.eval(), pixels)
    best = np.partition(reference, -2, axis=1)[:, -2:]
    is_clear = best[:, 1] - best[:, 0] >= CLEAR_LEAD
    candidates = [precision] if precision != "auto" else (["bf16", "f32"] if cpu_has_bf16() else ["f32"])
    shares: dict[str, float] = {}
    clear: dict[str, float] = {}
    for name in candidates:
        answers = OpenVINOEngine(folder, threads=usable_cores(), precision=name).predict(pixels)
        agrees = answers.argmax(1) == reference.argmax(1)
        shares[name] = float(agrees.mean())
        clear[name] = float(agrees[is_clear].mean()) if is_clear.any() else 1.0
        parity = _parity(name, reference, answers, shares[name])
        console.print(
            f"  {name}: top-1 agreement {shares[name]:.2%} ({clear[name]:.2%} where the class is clear), "
            f"largest difference {parity.max_difference:.2g}"
        )
        if shares[name] >= least:
            return Agreement(name, parity, shares, clear, answers, reference)
    raise ParityNotMet(
        f"OpenVINO agrees with torch on the top class of {max(shares.values()):.2%} of {len(pixels)} images; at least "
        f"{least:.2%} is needed (--min-agreement)"
    )


def _reference(model: PixelClassifier, pixels: Pixels) -> NDArray[np.float32]:
    """Return the probabilities of torch. Single-threaded batches side by side take a third of the processor time of
    multi-threaded ones, and the results are equal."""
    batches = [pixels[start : start + _REFERENCE_ROWS] for start in range(0, len(pixels), _REFERENCE_ROWS)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(usable_cores()) as pool:
            done = pool.map(lambda batch: probabilities(model, batch), batches)
            return np.concatenate(list(track(done, "torch", len(batches), console=console, transient=True)))
    finally:
        torch.set_num_threads(threads)


def _parity(precision: str, reference: NDArray[np.float32], answers: NDArray[np.float32], share: float) -> Parity:
    versions = library_versions("torch", "openvino")
    return Parity(
        reference=f"torch {versions['torch']} f32",
        runtime=f"openvino {versions['openvino']} {precision}",
        rows=len(reference),
        max_difference=float(np.abs(answers - reference).max()),
        top1_agreement=share,
    )

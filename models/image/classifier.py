"""An image classifier at serving time: pixels in, probabilities out.

Picks the runtime: torch where a CUDA device and torch exist, else OpenVINO. Knows no files but the artifact's, and no
image formats: those are turned into pixels by `models.image.preprocessing`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.cores import usable_cores
from models.errors import ArtifactInvalid, InvalidInput, PredictionFailed
from models.image.preprocessing import Pixels, Preprocessing, read_preprocessing
from models.store.artifacts import Artifact

_CUDA_FILES = ("/dev/nvidiactl", "/dev/dxg")


class Engine(Protocol):
    """A runtime with a model in it: uint8 (N, H, W, 3) to float32 (N, C), from several threads at once.

    `embed` gives the penultimate features behind that, (N, C + D), where the model has that output.
    """

    description: str

    def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]: ...

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]: ...


class ImageClassifier:
    """Answers a batch of images. `labels[i]` names column i of the answer; `runtime` says what computes it."""

    def __init__(self, artifact: Artifact, engine: Engine, preprocessing: Preprocessing) -> None:
        self.artifact = artifact
        self.labels = artifact.card.classes
        self.preprocessing = preprocessing
        self.runtime = engine.description
        self._engine = engine

    @classmethod
    def load(
        cls, artifact: Artifact, *, threads: int | None = None, device: str = "auto", precision: str | None = None
    ) -> ImageClassifier:
        """Load an artifact into memory.

        `threads` bounds the CPU threads of OpenVINO (default: the cores this process may use). `device` is "auto",
        "cpu" (OpenVINO), "cuda" or "cuda:N", or "torch:cpu". `precision` is OpenVINO's, "f32" or "bf16"; by default
        the one in which the artifact was measured to agree with torch. A graph in int8 is computed in int8 whatever it
        says. Raises ArtifactInvalid when the artifact is of another kind or its files do not fit together,
        InvalidInput for another device.
        """
        card = artifact.card
        if card.task != "image-classification" or not card.classes:
            raise ArtifactInvalid(f"artifact '{artifact.tag}' is for {card.task}, not a classifier of images")
        preprocessing = read_preprocessing(artifact.folder)
        device = _automatic_device() if device == "auto" else device
        if device == "cpu":
            from models.image.openvino_runtime import OpenVINOEngine

            saved_in = str(card.params.get("precision", "f32"))
            precision = saved_in if saved_in == "int8" else precision or saved_in
            engine: Engine = OpenVINOEngine(artifact.folder, threads=threads or usable_cores(), precision=precision)
        elif device.removeprefix("torch:").split(":")[0] in ("cpu", "cuda"):
            from models.image.torch_runtime import TorchEngine

            engine = TorchEngine(
                artifact.folder,
                algorithm=card.algorithm,
                classes=len(card.classes),
                preprocessing=preprocessing,
                device=device.removeprefix("torch:"),
            )
        else:
            raise InvalidInput(f"unknown device '{device}'; known: auto, cpu, cuda, cuda:N, torch:cpu")
        return cls(artifact, engine, preprocessing)

    def predict(self, rows: NDArray[Any]) -> NDArray[np.float32]:  # Any: checked here
        """Probabilities (N, C), each row summing to 1, of pixels uint8 (N, H, W, 3) as `ImageDecoder` makes them.

        Raises InvalidInput for another shape or type, PredictionFailed when the network answers NaN.
        """
        return self._checked(self._engine.predict, rows)

    def embed(self, rows: NDArray[Any]) -> NDArray[np.float32]:  # Any: checked here
        """The same with the embedding of each image behind its probabilities, (N, C + D).

        D is 0 for an artifact of before there were any. Raises as `predict` does.
        """
        return self._checked(self._engine.embed, rows)

    def _checked(
        self, ask: Callable[[NDArray[np.uint8]], NDArray[np.float32]], rows: NDArray[Any]
    ) -> NDArray[np.float32]:
        if rows.dtype != np.uint8 or rows.shape[1:] != self.preprocessing.shape or not len(rows):
            wanted = ", ".join(str(side) for side in self.preprocessing.shape)
            raise InvalidInput(f"pixels are {rows.dtype} {rows.shape}; they must be uint8 (N, {wanted}), N >= 1")
        answers = ask(rows)
        if not np.isfinite(answers).all():
            raise PredictionFailed(f"model '{self.artifact.tag}' answered numbers that are not probabilities")
        return answers

    def example(self) -> Pixels:
        """One grey image, shape (1, H, W, 3)."""
        return np.full((1, *self.preprocessing.shape), 128, np.uint8)


def _automatic_device() -> str:
    """Choose "cuda" or "cpu": the driver is looked for first, because importing torch takes seconds."""
    if any(Path(file).exists() for file in _CUDA_FILES) and importlib.util.find_spec("torch"):
        from models.image.torch_runtime import has_cuda

        return "cuda" if has_cuda() else "cpu"
    return "cpu"

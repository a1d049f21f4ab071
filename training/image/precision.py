"""Reduced precision of an OpenVINO graph: layers that stay float32 under bfloat16, and quantization to int8."""

from __future__ import annotations

import importlib
import logging
import xml.etree.ElementTree as ET  # reads a file that this process has written
from pathlib import Path
from types import ModuleType

import numpy as np

from models.image.openvino_runtime import IR_FILE, import_openvino
from models.image.preprocessing import Pixels

_CONVOLUTIONS = ("Convolution", "GroupConvolution")
# Marks a node that stays float32 at any inference precision.
_EXACT = {"name": "precise", "version": "0"}
# More images do not improve calibration (300 is NNCF's default, and three times as slow).
LARGEST_CALIBRATION = 100


def keep_front_exact(folder: Path) -> None:
    """Keep the graph's normalisation, first convolution and first depthwise convolution in float32 under bf16.

    Of EfficientNet-Lite0's squared error in bfloat16, most comes from these two of 50 layers: with them in float32 bf16
    agrees on 98.5 % of 198 views instead of 96.5 %, at 1.75 times f32's speed, not 2.2 (`tests.measure.precision`).
    """
    tree = ET.parse(folder / IR_FILE)  # noqa: S314  (written by write_network)
    layers = {layer.attrib["id"]: layer for layer in tree.iter("layer")}
    followers: dict[str, list[str]] = {}
    for edge in tree.iter("edge"):
        followers.setdefault(edge.attrib["from-layer"], []).append(edge.attrib["to-layer"])
    node = next(name for name, layer in layers.items() if layer.attrib["type"] == "Parameter")
    convolutions = 0
    while len(after := followers.get(node, [])) == 1:
        kind = layers[after[0]].attrib["type"]
        if kind in _CONVOLUTIONS:
            convolutions += 1
            if convolutions > 1 and (convolutions > 2 or kind != "GroupConvolution"):
                break
        node = after[0]
        _mark(layers[node])
    tree.write(folder / IR_FILE, encoding="utf-8", xml_declaration=True)


def quantize(folder: Path, calibration: Pixels) -> None:
    """Replace the graph in `folder` by one in int8, with the ranges of activations measured on `calibration`."""
    openvino, nncf = import_openvino(), import_nncf()
    rows = np.linspace(0, len(calibration) - 1, min(len(calibration), LARGEST_CALIBRATION)).astype(int)
    quantized = nncf.quantize(
        openvino.Core().read_model(folder / IR_FILE),
        nncf.Dataset([calibration[row : row + 1] for row in rows]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(rows),
    )
    quantized_file = folder / f"quantized-{IR_FILE}"
    openvino.save_model(quantized, quantized_file, compress_to_fp16=False)
    # NNCF reads the old weights until here.
    for file in (quantized_file, quantized_file.with_suffix(".bin")):
        file.replace(folder / file.name.removeprefix("quantized-"))


def import_nncf() -> ModuleType:
    """Import `nncf` with telemetry disabled and errors only in its log."""
    import_openvino()  # disables the telemetry that both share
    nncf = importlib.import_module("nncf")
    nncf.set_log_level(logging.ERROR)
    return nncf


def _mark(layer: ET.Element) -> None:
    info = layer.find("rt_info")
    info = ET.SubElement(layer, "rt_info") if info is None else info
    ET.SubElement(info, "attribute", _EXACT)

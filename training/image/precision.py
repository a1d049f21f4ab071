"""What makes an OpenVINO graph computable in fewer bits: where bfloat16 must not be, and int8 weights and activations.

Knows graphs and the pixels that int8 is calibrated on, no training and no scores.
"""

from __future__ import annotations

import importlib
import logging
import xml.etree.ElementTree as ET  # reads back what was written a moment before
from pathlib import Path
from types import ModuleType

import numpy as np

from models.image.openvino_runtime import IR_FILE, import_openvino
from models.image.preprocessing import Pixels

_CONVOLUTIONS = ("Convolution", "GroupConvolution")
# Of a node that stays float32 whatever the precision asked for.
_EXACT = {"name": "precise", "version": "0"}
# Calibration gains nothing from more (300 is NNCF's default, and three times as slow).
LARGEST_CALIBRATION = 100


def keep_front_exact(folder: Path) -> None:
    """Keep the graph's normalisation, first convolution and the one by channel after it in float32, if asked for bf16.

    Of EfficientNet-Lite0's squared error in bfloat16, most comes from these two of 50 layers: with them in float32 bf16
    agrees on 98.5 % of 198 views instead of 96.5 %, at 1.75 times f32's speed, not 2.2 (`tests.measure.precision`).
    """
    tree = ET.parse(folder / IR_FILE)  # noqa: S314  (made by write_network)
    layers = {layer.attrib["id"]: layer for layer in tree.iter("layer")}
    followers: dict[str, list[str]] = {}
    for edge in tree.iter("edge"):
        followers.setdefault(edge.attrib["from-layer"], []).append(edge.attrib["to-layer"])
    place = next(name for name, layer in layers.items() if layer.attrib["type"] == "Parameter")
    convolutions = 0
    while len(after := followers.get(place, [])) == 1:
        kind = layers[after[0]].attrib["type"]
        if kind in _CONVOLUTIONS:
            convolutions += 1
            if convolutions > 1 and (convolutions > 2 or kind != "GroupConvolution"):
                break
        place = after[0]
        _mark(layers[place])
    tree.write(folder / IR_FILE, encoding="utf-8", xml_declaration=True)


def quantize(folder: Path, calibration: Pixels) -> None:
    """Replace the graph in `folder` by one in int8: weights by channel, activations as they range on `calibration`."""
    openvino, nncf = import_openvino(), import_nncf()
    few = np.linspace(0, len(calibration) - 1, min(len(calibration), LARGEST_CALIBRATION)).astype(int)
    quantized = nncf.quantize(
        openvino.Core().read_model(folder / IR_FILE),
        nncf.Dataset([calibration[row : row + 1] for row in few]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(few),
    )
    aside = folder / f"quantized-{IR_FILE}"
    openvino.save_model(quantized, aside, compress_to_fp16=False)
    # Only now is nobody reading the old weights.
    for file in (aside, aside.with_suffix(".bin")):
        file.replace(folder / file.name.removeprefix("quantized-"))


def import_nncf() -> ModuleType:
    """The module `nncf`, without the telemetry that it shares with OpenVINO, and quiet."""
    import_openvino()  # puts the telemetry out of sight
    nncf = importlib.import_module("nncf")
    nncf.set_log_level(logging.ERROR)
    return nncf


def _mark(layer: ET.Element) -> None:
    info = layer.find("rt_info")
    info = ET.SubElement(layer, "rt_info") if info is None else info
    ET.SubElement(info, "attribute", _EXACT)

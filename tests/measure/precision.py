"""Measure an image classifier in bfloat16: `python -m tests.measure.precision`. It needs a CPU with bfloat16.

Each plan keeps some layers in float32 and is compared with float32 for all layers, on the 198 views of the photographs
and on harder variants with noise, other contrast and other colours. `--layers` also computes each layer alone in
bfloat16, which takes minutes, and adds the plan that keeps the ten most sensitive layers in float32.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.cores import usable_cores
from models.image.openvino_runtime import IR_FILE, OpenVINOEngine, cpu_has_bf16
from models.image.preprocessing import Pixels, read_preprocessing
from models.store.artifacts import find
from training.image.export import CLEAR_LEAD
from training.image.photographs import views

PRECISE = {"name": "precise", "version": "0"}
WEIGHTED = ("Convolution", "GroupConvolution", "MatMul")
Plan = Collection[str]  # ids of the nodes that stay float32


def main(options: argparse.Namespace) -> None:
    """Print a line per plan."""
    if not cpu_has_bf16():
        raise SystemExit("this CPU does not multiply bfloat16")
    source = find(options.model).folder
    pixels = views(read_preprocessing(source)).pixels
    sets = {"views": pixels, "harder": harder(pixels)}
    tree = parsed(source)
    layers, front = layers_of(tree), [layer.attrib["id"] for layer in tree.iter("layer") if _marks(layer)]
    every = {*front, *(node for _, nodes in layers.values() for node in nodes)}
    plans: dict[str, Plan] = {
        "no layer in f32": (),
        "front in f32": front,
        "all by channel in f32": {
            node for kind, nodes in layers.values() if kind == "GroupConvolution" for node in nodes
        },
    }
    exact = OpenVINOEngine(source, threads=usable_cores())
    with tempfile.TemporaryDirectory() as scratch:

        def engine(plan: Plan) -> OpenVINOEngine:
            return planned(source, Path(scratch), plan)

        if options.layers:
            errors = layer_errors(exact, engine, layers, every, pixels)
            worst = sorted(errors, key=errors.__getitem__, reverse=True)[:10]
            plans["10 most sensitive in f32"] = {node for name in worst for node in layers[name][1]} | set(front)
        for name, plan in plans.items():
            report(name, exact, engine(plan), sets)


def layers_of(tree: ET.ElementTree[ET.Element]) -> dict[str, tuple[str, list[str]]]:
    """Return each layer with weights: its type, and its nodes with the bias and activation that follow it."""
    kinds = {layer.attrib["id"]: layer.attrib["type"] for layer in tree.iter("layer")}
    names = {layer.attrib["id"]: layer.attrib["name"] for layer in tree.iter("layer")}
    after: dict[str, list[str]] = {}
    for edge in tree.iter("edge"):
        after.setdefault(edge.attrib["from-layer"], []).append(edge.attrib["to-layer"])
    layers = {}
    for start in (node for node, kind in kinds.items() if kind in WEIGHTED):
        nodes, place = [start], start
        while len(following := after.get(place, [])) == 1 and kinds[following[0]] not in (*WEIGHTED, "Result"):
            place = following[0]
            nodes.append(place)
        layers[names[start]] = (kinds[start], nodes)
    return layers


def parsed(folder: Path) -> ET.ElementTree[ET.Element]:
    """Return the graph of an artifact."""
    return ET.parse(folder / IR_FILE)  # noqa: S314  (of the store)


def planned(source: Path, folder: Path, plan: Plan) -> OpenVINOEngine:
    """Return the artifact in bfloat16, except the nodes of `plan`."""
    tree = parsed(source)
    for layer in tree.iter("layer"):
        for info, mark in _marks(layer):
            info.remove(mark)
        if layer.attrib["id"] in plan:
            place = layer.find("rt_info")
            ET.SubElement(ET.SubElement(layer, "rt_info") if place is None else place, "attribute", PRECISE)
    shutil.copytree(source, folder, dirs_exist_ok=True)
    tree.write(folder / IR_FILE, encoding="utf-8", xml_declaration=True)
    return OpenVINOEngine(folder, threads=usable_cores(), precision="bf16")


def _marks(layer: ET.Element) -> list[tuple[ET.Element, ET.Element]]:
    return [(info, each) for info in layer.iter("rt_info") for each in list(info) if each.get("name") == "precise"]


def harder(pixels: Pixels) -> Pixels:
    """Return three variants of each image: with noise, less contrast and other colours."""
    random = np.random.default_rng(0)
    shape = (len(pixels), 1, 1, 1)
    noisy = pixels + random.normal(0, 12, pixels.shape)
    flat = (pixels - 128.0) * random.uniform(0.5, 0.9, shape) + 128
    coloured = pixels * random.uniform(0.8, 1.2, (len(pixels), 1, 1, 3))
    return np.concatenate([noisy, flat, coloured]).round().clip(0, 255).astype(np.uint8)


def layer_errors(
    exact: OpenVINOEngine,
    engine: Callable[[Plan], OpenVINOEngine],
    layers: Mapping[str, tuple[str, list[str]]],
    every: Collection[str],
    pixels: Pixels,
) -> dict[str, float]:
    """Return the squared error of log probabilities with each layer alone in bfloat16. Print the largest shares."""
    right = np.log(exact.predict(pixels) + 1e-9)

    def error(plan: Plan) -> float:
        return float(np.mean((np.log(engine(plan).predict(pixels) + 1e-9) - right) ** 2))

    whole = error(())
    errors = {name: error(set(every) - set(nodes)) for name, (_, nodes) in layers.items()}
    print(f"{len(layers)} layers; squared error with all in bf16 {whole:.4f}; shares of single layers:")
    for name in sorted(errors, key=errors.__getitem__, reverse=True)[:10]:
        print(f"  {errors[name] / whole:6.1%} {layers[name][0]} {name}")
    return errors


def report(name: str, exact: OpenVINOEngine, other: OpenVINOEngine, sets: Mapping[str, Pixels]) -> None:
    """Print how often both agree, the largest lost lead, and the speed with batches of 8."""
    agreements, lost = [], 0.0
    for what, pixels in sets.items():
        right = exact.predict(pixels)
        agrees = other.predict(pixels).argmax(1) == right.argmax(1)
        best = np.partition(right, -2, axis=1)[:, -2:]
        leads: NDArray[np.float32] = best[:, 1] - best[:, 0]
        clear = leads >= CLEAR_LEAD
        lost = max(lost, float(leads[~agrees].max(initial=0)))
        agreements.append(
            f"{what} {agrees.mean():.2%} of {len(pixels)}, clear {agrees[clear].mean():.2%} of {clear.sum()}"
        )
    batch = sets["views"][:8]
    times = [(_s(exact, batch), _s(other, batch)) for _ in range(40)]
    speed = min(first for first, _ in times) / min(second for _, second in times)
    print(f"{name}: {'; '.join(agreements)}; largest lead lost {lost:.3f}; speed {speed:.2f}", flush=True)


def _s(engine: OpenVINOEngine, batch: Pixels) -> float:
    started = time.perf_counter()
    engine.predict(batch)
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="image:latest", help="tag of the artifact")
    parser.add_argument("--layers", action="store_true", help="also each layer alone")
    main(parser.parse_args())

"""The ranker's trees: read from LightGBM's text format and written as an ONNX graph.

The service runs the graph, so that it needs neither LightGBM nor scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.onnx_session import INPUT_NAME, OUTPUT_NAME
from models.onnx_writer import TREE_DOMAIN, encode_model
from models.trees import Tree, TreeEnsemble, onnx_attributes


def from_lightgbm(text: str) -> TreeEnsemble:
    """Parse a model in LightGBM's text format. Categories and missing values are not supported."""
    header, *parts = text.split("\nTree=")
    width = len(_fields(header)["feature_names"].split())
    return TreeEnsemble(tuple(_tree(_fields(part)) for part in parts), width)


def gains(text: str) -> dict[str, float]:
    """Return each feature's share of the total gain, from a model in LightGBM's text format."""
    header, *parts = text.split("\nTree=")
    names = _fields(header)["feature_names"].split()
    totals = np.zeros(len(names))
    for fields in map(_fields, parts):
        if int(fields["num_leaves"]) > 1:
            np.add.at(totals, _numbers(fields, "split_feature").astype(np.int64), _numbers(fields, "split_gain"))
    return dict(zip(names, (totals / max(totals.sum(), 1e-9)).tolist(), strict=True))


def to_onnx(ensemble: TreeEnsemble) -> bytes:
    """Return a graph from `rows` float32 (N, width) to `answers` float32 (N, outputs), checked by onnx."""
    from onnx import helper

    node = helper.make_node(
        "TreeEnsembleRegressor", [INPUT_NAME], [OUTPUT_NAME], domain=TREE_DOMAIN, **onnx_attributes(ensemble)
    )
    return encode_model([node], name="ranker", columns=ensemble.width, outputs=len(ensemble.bases))


def _tree(fields: Mapping[str, str]) -> Tree:
    if int(fields["num_leaves"]) == 1:
        empty = np.empty(0, np.int64)
        return Tree(empty, np.empty(0), empty, empty, np.empty(0, bool), _numbers(fields, "leaf_value"))
    left, right = (_numbers(fields, name).astype(np.int64) for name in ("left_child", "right_child"))
    inner = len(left)
    return Tree(
        features=_numbers(fields, "split_feature").astype(np.int64),
        thresholds=_numbers(fields, "threshold"),
        left=_children(left, inner),
        right=_children(right, inner),
        missing_left=np.zeros(inner, bool),
        leaves=_numbers(fields, "leaf_value"),
    )


def _children(numbers: NDArray[np.int64], inner: int) -> NDArray[np.int64]:
    """Return node numbers from LightGBM's, which writes leaf i as -1 - i."""
    return np.where(numbers < 0, inner - 1 - numbers, numbers)


def _fields(part: str) -> dict[str, str]:
    return {name: value for name, mark, value in (line.partition("=") for line in part.split("\n")) if mark}


def _numbers(fields: Mapping[str, str], name: str) -> NDArray[np.float64]:
    return np.array(fields[name].split(), np.float64)

"""The ranker's trees as an ONNX graph.

The service runs the graph, so that it needs neither LightGBM nor scikit-learn.
"""

from __future__ import annotations

from models.onnx_session import INPUT_NAME, OUTPUT_NAME
from models.onnx_writer import TREE_DOMAIN, encode_model
from models.trees import TreeEnsemble, onnx_attributes


def to_onnx(ensemble: TreeEnsemble) -> bytes:
    """Return a graph from `rows` float32 (N, width) to `answers` float32 (N, outputs), checked by onnx."""
    from onnx import helper

    node = helper.make_node(
        "TreeEnsembleRegressor", [INPUT_NAME], [OUTPUT_NAME], domain=TREE_DOMAIN, **onnx_attributes(ensemble)
    )
    return encode_model([node], name="ranker", columns=ensemble.width, outputs=len(ensemble.bases))

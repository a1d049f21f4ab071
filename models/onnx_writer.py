"""Write ONNX models that `models.tabular.model` runs: one input of rows, one output of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.onnx_session import INPUT_NAME, OUTPUT_NAME

if TYPE_CHECKING:
    import onnx

TREE_DOMAIN = "ai.onnx.ml"
_OPSETS = {"": 18, TREE_DOMAIN: 3}
_IR_VERSION = 9


def encode_model(
    nodes: Sequence[onnx.NodeProto],
    *,
    name: str,
    columns: int,
    outputs: int,
    constants: Sequence[onnx.TensorProto] = (),
) -> bytes:
    """Return a graph from `rows` float32 (N, columns) to `answers` float32 (N, outputs) as bytes, checked by onnx."""
    import onnx
    from onnx import TensorProto, helper

    model = helper.make_model(
        helper.make_graph(
            list(nodes),
            name,
            [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["N", columns])],
            [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", outputs])],
            list(constants),
        ),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()],
        ir_version=_IR_VERSION,
        producer_name="makunouchi",
    )
    onnx.checker.check_model(model)
    encoded: bytes = model.SerializeToString()
    return encoded

"""Write ONNX models that `models.tabular.model` runs: one input of rows, one output of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

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
    takes: DTypeLike = np.float32,
    gives: DTypeLike = np.float32,
    opsets: Mapping[str, int] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
) -> bytes:
    """Return a graph from `rows` (N, columns) to `answers` (N, outputs) as bytes, checked by onnx.

    `takes` and `gives` are their types. `opsets` are versions of operators that differ from the usual ones, by domain,
    and `functions` are those that the nodes call.
    """
    import onnx
    from onnx import helper

    given, taken = (helper.np_dtype_to_tensor_dtype(np.dtype(each)) for each in (gives, takes))

    model = helper.make_model(
        helper.make_graph(
            list(nodes),
            name,
            [helper.make_tensor_value_info(INPUT_NAME, taken, ["N", columns])],
            [helper.make_tensor_value_info(OUTPUT_NAME, given, ["N", outputs])],
            list(constants),
        ),
        opset_imports=[
            helper.make_opsetid(domain, version) for domain, version in (_OPSETS | dict(opsets or {})).items()
        ],
        ir_version=_IR_VERSION,
        producer_name="makunouchi",
        functions=list(functions),
    )
    onnx.checker.check_model(model)
    encoded: bytes = model.SerializeToString()
    return encoded

"""ONNX graphs under construction: nodes and constants are named by the order in which they are added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import helper, numpy_helper

from models.onnx_session import INPUT_NAME
from models.onnx_writer import encode_model


class OnnxGraph:
    """A graph from `rows` to `answers` under construction."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._functions: list[onnx.FunctionProto] = []
        self._opsets: dict[str, int] = {}

    def add(self, operator: str, inputs: Sequence[str], *, name: str = "", domain: str = "", **attributes: Any) -> str:
        """Append a node and return the name of its only output. Any: what an ONNX attribute may hold."""
        name = name or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def constant(self, value: NDArray[np.generic]) -> str:
        """Add an array and return its name."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def columns(self, positions: Sequence[int]) -> str:
        """Add a selection of columns of the input."""
        return self.add("Gather", [INPUT_NAME, self.constant(np.array(positions, np.int64))], axis=1)

    def include(self, model: onnx.ModelProto, inputs: Mapping[str, str], outputs: Sequence[str]) -> list[str]:
        """Add another model, whose inputs are the values `inputs` of this graph. Return the names of its `outputs`.

        The versions of its operators become those of this graph.
        """
        prefix = f"part_{len(self._nodes)}/"
        placed = onnx.compose.add_prefix(model, prefix, rename_functions=False)
        for inner, outer in inputs.items():
            self.add("Identity", [outer], name=prefix + inner)
        self._nodes += placed.graph.node
        self._constants += placed.graph.initializer
        self._functions += [each for each in placed.functions if each not in self._functions]
        self._opsets |= {each.domain: each.version for each in placed.opset_import}
        return [prefix + output for output in outputs]

    def encode(self, *, name: str, columns: int, outputs: int, takes: DTypeLike, gives: DTypeLike) -> bytes:
        """Return the whole model as bytes, checked by onnx."""
        return encode_model(
            self._nodes,
            name=name,
            columns=columns,
            outputs=outputs,
            constants=self._constants,
            takes=takes,
            gives=gives,
            opsets=self._opsets,
            functions=self._functions,
        )

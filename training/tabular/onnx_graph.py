"""Convert a fitted pipeline of `pipelines` to one ONNX graph, from the encoded rows to the answers.

The graph is written node by node: with onnx 1.23, skl2onnx 1.20 cannot convert histogram gradient boosting, and its
graphs have four nodes for every category column where two are enough for all columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline

from models.onnx_session import INPUT_NAME, OUTPUT_NAME
from models.onnx_writer import TREE_DOMAIN, encode_model
from models.trees import from_histograms, onnx_attributes


def to_onnx(fitted: Pipeline) -> bytes:
    """Return the graph of `fitted`, `rows` float32 (N, F) to `answers` float32 (N, K), for `models.tabular.model`.

    Arithmetic that is sensitive to rounding (scaling, calibration) is done in float64.
    """
    graph = _Graph()
    prepare, model = fitted["prepare"], fitted["model"]
    features = _prepared(graph, prepare)
    if isinstance(model, CalibratedClassifierCV):
        (only,) = model.calibrated_classifiers_
        (calibrator,) = only.calibrators
        scores = _scores(graph, only.estimator, features)
        answers = _calibrated(graph, scores, calibrator, classes=len(model.classes_))
    else:
        scores = _scores(graph, model, features)
        answers = _probabilities(graph, scores, model) if hasattr(model, "classes_") else scores
    graph.add("Cast", [answers], name=OUTPUT_NAME, to=TensorProto.FLOAT)
    width = len(model.classes_) if hasattr(model, "classes_") else 1
    return graph.encode(columns=prepare.n_features_in_, outputs=width)


class _Graph:
    """A graph under construction. Values are named by the order of their nodes."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

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

    def encode(self, *, columns: int, outputs: int) -> bytes:
        """Return the whole model as bytes, checked by onnx."""
        return encode_model(self._nodes, name="tabular", columns=columns, outputs=outputs, constants=self._constants)


def _prepared(graph: _Graph, prepare: ColumnTransformer) -> str:
    parts = []
    for name, transformer, positions in prepare.transformers_:
        if name == "numbers":
            chosen = graph.add("Gather", [INPUT_NAME, graph.constant(np.array(positions, np.int64))], axis=1)
            parts.append(_filled(graph, chosen, transformer) if isinstance(transformer, Pipeline) else chosen)
        elif name == "categories":
            parts.append(_one_hot(graph, positions, transformer.categories_))
    return parts[0] if len(parts) == 1 else graph.add("Concat", parts, axis=1)


def _filled(graph: _Graph, numbers: str, transformer: Pipeline) -> str:
    fill, scale = transformer["fill"], transformer["scale"]
    wide = graph.add("Cast", [numbers], to=TensorProto.DOUBLE)
    is_missing = graph.add("IsNaN", [wide])
    filled = graph.add("Where", [is_missing, graph.constant(fill.statistics_.astype(np.float64)), wide])
    if len(fill.indicator_.features_):
        flagged = graph.constant(fill.indicator_.features_.astype(np.int64))
        flags = graph.add("Cast", [is_missing], to=TensorProto.DOUBLE)
        filled = graph.add("Concat", [filled, graph.add("Gather", [flags, flagged], axis=1)], axis=1)
    centred = graph.add("Sub", [filled, graph.constant(scale.mean_)])
    return graph.add("Cast", [graph.add("Div", [centred, graph.constant(scale.scale_)])], to=TensorProto.FLOAT)


def _one_hot(graph: _Graph, positions: Sequence[int], categories: Sequence[NDArray[np.float64]]) -> str:
    repeated = np.repeat(np.array(positions, np.int64), [len(codes) for codes in categories])
    codes = graph.add("Gather", [INPUT_NAME, graph.constant(repeated)], axis=1)
    is_equal = graph.add("Equal", [codes, graph.constant(np.concatenate(categories).astype(np.float32))])
    return graph.add("Cast", [is_equal], to=TensorProto.FLOAT)


def _scores(graph: _Graph, model: object, features: str) -> str:
    """Add decision scores or estimates as float64: (N, 1) for two classes or a number, else (N, K)."""
    if isinstance(model, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
        attributes = onnx_attributes(from_histograms(model))
        scores = graph.add("TreeEnsembleRegressor", [features], domain=TREE_DOMAIN, **attributes)
    else:
        weights = np.atleast_2d(model.coef_).T.astype(np.float32)  # type: ignore[attr-defined]
        bias = np.atleast_1d(model.intercept_).astype(np.float32)  # type: ignore[attr-defined]
        scores = graph.add("Gemm", [features, graph.constant(weights), graph.constant(bias)])
    return graph.add("Cast", [scores], to=TensorProto.DOUBLE)


def _calibrated(graph: _Graph, scores: str, calibrator: Any, *, classes: int) -> str:
    """Add a sigmoid with slope and offset for two classes, or a softmax with a temperature for more."""
    if classes == 2:
        sloped = graph.add("Mul", [scores, graph.constant(np.array([-calibrator.a_], dtype=np.float64))])
        shifted = graph.add("Add", [sloped, graph.constant(np.array([-calibrator.b_], dtype=np.float64))])
        return _both_classes(graph, graph.add("Sigmoid", [shifted]))
    scaled = graph.add("Mul", [scores, graph.constant(np.array([calibrator.beta_], dtype=np.float64))])
    return graph.add("Softmax", [scaled], axis=1)


def _probabilities(graph: _Graph, scores: str, model: object) -> str:
    if len(model.classes_) == 2:  # type: ignore[attr-defined]
        return _both_classes(graph, graph.add("Sigmoid", [scores]))
    return graph.add("Softmax", [scores], axis=1)


def _both_classes(graph: _Graph, second: str) -> str:
    first = graph.add("Sub", [graph.constant(np.array([[1.0]])), second])
    return graph.add("Concat", [first, second], axis=1)

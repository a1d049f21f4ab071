"""A fitted pipeline of `pipelines` as one ONNX graph, from the encoded rows to the answers.

Written node by node: with onnx 1.23, skl2onnx 1.20 cannot convert histogram gradient boosting, and its graphs have
four nodes for every category column where two serve all of them. Knows scikit-learn's fitted attributes, no data.
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

_OPSETS = {"": 18, "ai.onnx.ml": 3}
_IR_VERSION = 9


def to_onnx(fitted: Pipeline) -> bytes:
    """The graph of `fitted`: `rows` float32 (N, F) to `answers` float32 (N, K), ready for `models.tabular.model`.

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
    return graph.finish(columns=prepare.n_features_in_, width=width)


class _Graph:
    """Nodes and constants under way. Values are named by the order in which they are made."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: Sequence[str], *, name: str = "", domain: str = "", **attributes: Any) -> str:
        """Append a node and return the name of its only output. Any: whatever an ONNX attribute may be."""
        name = name or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def constant(self, value: NDArray[np.generic]) -> str:
        """Add an array and return its name."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def finish(self, *, columns: int, width: int) -> bytes:
        """The whole model as bytes, checked by onnx."""
        model = helper.make_model(
            helper.make_graph(
                self._nodes,
                "tabular",
                [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["N", columns])],
                [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", width])],
                self._constants,
            ),
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()],
            ir_version=_IR_VERSION,
            producer_name="makunouchi",
        )
        onnx.checker.check_model(model)
        encoded: bytes = model.SerializeToString()
        return encoded


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
        watched = graph.constant(fill.indicator_.features_.astype(np.int64))
        flags = graph.add("Cast", [is_missing], to=TensorProto.DOUBLE)
        filled = graph.add("Concat", [filled, graph.add("Gather", [flags, watched], axis=1)], axis=1)
    centred = graph.add("Sub", [filled, graph.constant(scale.mean_)])
    return graph.add("Cast", [graph.add("Div", [centred, graph.constant(scale.scale_)])], to=TensorProto.FLOAT)


def _one_hot(graph: _Graph, positions: Sequence[int], categories: Sequence[NDArray[np.float64]]) -> str:
    repeated = np.repeat(np.array(positions, np.int64), [len(codes) for codes in categories])
    given = graph.add("Gather", [INPUT_NAME, graph.constant(repeated)], axis=1)
    same = graph.add("Equal", [given, graph.constant(np.concatenate(categories).astype(np.float32))])
    return graph.add("Cast", [same], to=TensorProto.FLOAT)


def _scores(graph: _Graph, model: object, features: str) -> str:
    """Decision scores or estimates as float64: (N, 1) for two classes or a number, else (N, K)."""
    if isinstance(model, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
        scores = _trees(graph, model, features)
    else:
        weights = np.atleast_2d(model.coef_).T.astype(np.float32)  # type: ignore[attr-defined]
        bias = np.atleast_1d(model.intercept_).astype(np.float32)  # type: ignore[attr-defined]
        scores = graph.add("Gemm", [features, graph.constant(weights), graph.constant(bias)])
    return graph.add("Cast", [scores], to=TensorProto.DOUBLE)


def _trees(graph: _Graph, model: HistGradientBoostingClassifier, features: str) -> str:
    columns: dict[str, Any] = {name: [] for name in _NODE_FIELDS + _LEAF_FIELDS}
    number = 0
    for round_ in model._predictors:
        for target, tree in enumerate(round_):
            _append_tree(columns, tree.nodes, number, target)
            number += 1
    return graph.add(
        "TreeEnsembleRegressor",
        [features],
        domain="ai.onnx.ml",
        n_targets=model.n_trees_per_iteration_,
        base_values=np.ravel(model._baseline_prediction).astype(float).tolist(),
        **columns,
    )


_NODE_FIELDS = [
    "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_modes", "nodes_values", "nodes_truenodeids",
    "nodes_falsenodeids", "nodes_missing_value_tracks_true",
]  # fmt: skip
_LEAF_FIELDS = ["target_treeids", "target_nodeids", "target_ids", "target_weights"]


def _append_tree(columns: dict[str, Any], nodes: NDArray[np.void], number: int, target: int) -> None:
    leaf = nodes["is_leaf"].astype(bool)
    inner = ~leaf
    positions = np.arange(len(nodes))
    columns["nodes_treeids"] += [number] * len(nodes)
    columns["nodes_nodeids"] += positions.tolist()
    columns["nodes_featureids"] += np.where(inner, nodes["feature_idx"], 0).astype(int).tolist()
    columns["nodes_modes"] += ["LEAF" if is_leaf else "BRANCH_LEQ" for is_leaf in leaf.tolist()]
    columns["nodes_values"] += np.where(inner, _float32_below(nodes["num_threshold"]), 0).astype(float).tolist()
    columns["nodes_truenodeids"] += np.where(inner, nodes["left"], 0).astype(int).tolist()
    columns["nodes_falsenodeids"] += np.where(inner, nodes["right"], 0).astype(int).tolist()
    columns["nodes_missing_value_tracks_true"] += np.where(inner, nodes["missing_go_to_left"], 0).astype(int).tolist()
    columns["target_treeids"] += [number] * int(leaf.sum())
    columns["target_nodeids"] += positions[leaf].tolist()
    columns["target_ids"] += [target] * int(leaf.sum())
    columns["target_weights"] += nodes["value"][leaf].astype(float).tolist()


def _float32_below(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above: float32 values fall on the same side of it as of the float64 one."""
    with np.errstate(over="ignore"):
        nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _calibrated(graph: _Graph, scores: str, calibrator: Any, *, classes: int) -> str:
    """A sigmoid of a slope and an offset for two classes, a softmax with a temperature for more."""
    if classes == 2:
        sloped = graph.add("Mul", [scores, graph.constant(np.array([-calibrator.a_], dtype=np.float64))])
        shifted = graph.add("Add", [sloped, graph.constant(np.array([-calibrator.b_], dtype=np.float64))])
        return _both(graph, graph.add("Sigmoid", [shifted]))
    scaled = graph.add("Mul", [scores, graph.constant(np.array([calibrator.beta_], dtype=np.float64))])
    return graph.add("Softmax", [scaled], axis=1)


def _probabilities(graph: _Graph, scores: str, model: object) -> str:
    if len(model.classes_) == 2:  # type: ignore[attr-defined]
        return _both(graph, graph.add("Sigmoid", [scores]))
    return graph.add("Softmax", [scores], axis=1)


def _both(graph: _Graph, second: str) -> str:
    first = graph.add("Sub", [graph.constant(np.array([[1.0]])), second])
    return graph.add("Concat", [first, second], axis=1)

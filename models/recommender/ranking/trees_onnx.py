"""A forest of regression trees as arrays: read from LightGBM's text, written as one ONNX graph.

What serves runs the graph, so that it needs neither LightGBM nor scikit-learn. Knows trees, not what they rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.onnx_session import INPUT_NAME, OUTPUT_NAME

_OPSETS = {"": 18, "ai.onnx.ml": 3}
_IR_VERSION = 9


@dataclass(frozen=True, slots=True)
class Tree:
    """Inner nodes are 0 to n - 1, leaf i is node n + i. A row goes left where its feature is at most the threshold."""

    features: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    leaves: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TreeEnsemble:
    """The answer for a row is `base` plus the leaves that it falls into. `width` is how many features a row has."""

    trees: tuple[Tree, ...]
    width: int
    base: float = 0.0


def from_lightgbm(text: str) -> TreeEnsemble:
    """The forest of a model in LightGBM's text format. Numbers only: no categories, no missing values."""
    header, *parts = text.split("\nTree=")
    width = len(_fields(header)["feature_names"].split())
    return TreeEnsemble(tuple(_tree(_fields(part)) for part in parts), width)


def from_histograms(model: Any) -> TreeEnsemble:  # Any: scikit-learn has no types
    """The forest of one of scikit-learn's histogram boosting models with one output."""
    trees = []
    for (tree,) in model._predictors:
        nodes = tree.nodes
        is_leaf = nodes["is_leaf"].astype(bool)
        # Its nodes are mixed: inner ones first, then leaves, as here.
        order = np.argsort(is_leaf, kind="stable")
        place = np.empty(len(nodes), np.int64)
        place[order] = np.arange(len(nodes))
        inner = nodes[~is_leaf]
        trees.append(
            Tree(
                inner["feature_idx"].astype(np.int64),
                inner["num_threshold"].astype(np.float64),
                place[inner["left"]],
                place[inner["right"]],
                nodes[is_leaf]["value"].astype(np.float64),
            )
        )
    return TreeEnsemble(tuple(trees), int(model.n_features_in_), float(np.ravel(model._baseline_prediction)[0]))


def gains(text: str) -> dict[str, float]:
    """Share of the gain that each feature brought, from LightGBM's text format."""
    header, *parts = text.split("\nTree=")
    names = _fields(header)["feature_names"].split()
    found = np.zeros(len(names))
    for fields in map(_fields, parts):
        if int(fields["num_leaves"]) > 1:
            np.add.at(found, _numbers(fields, "split_feature").astype(np.int64), _numbers(fields, "split_gain"))
    return dict(zip(names, (found / max(found.sum(), 1e-9)).tolist(), strict=True))


def to_onnx(forest: TreeEnsemble) -> bytes:
    """A graph from `rows` float32 (N, width) to `answers` float32 (N, 1), checked by onnx."""
    import onnx
    from onnx import TensorProto, helper

    attributes: dict[str, list[Any]] = {}  # Any: what an ONNX attribute may hold
    for number, tree in enumerate(forest.trees):
        for name, values in _attributes(number, tree):
            attributes.setdefault(name, []).extend(values)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT_NAME],
        [OUTPUT_NAME],
        domain="ai.onnx.ml",
        n_targets=1,
        base_values=[forest.base],
        **attributes,  # type: ignore[arg-type]  # onnx declares its attributes as None
    )
    taken = helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["N", forest.width])
    answered = helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", 1])
    model = helper.make_model(
        helper.make_graph([node], "ranker", [taken], [answered]),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()],
        ir_version=_IR_VERSION,
        producer_name="makunouchi",
    )
    onnx.checker.check_model(model)
    encoded: bytes = model.SerializeToString()
    return encoded


def float32_below(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above: float32 values fall on the same side of it as of the float64 one."""
    with np.errstate(over="ignore"):
        nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _attributes(number: int, tree: Tree) -> Iterator[tuple[str, list[Any]]]:
    """One tree in the columns of ONNX's TreeEnsembleRegressor."""
    inner, leaves = len(tree.features), len(tree.leaves)
    unused = [0] * leaves
    yield "nodes_treeids", [number] * (inner + leaves)
    yield "nodes_nodeids", list(range(inner + leaves))
    yield "nodes_featureids", tree.features.tolist() + unused
    yield "nodes_modes", ["BRANCH_LEQ"] * inner + ["LEAF"] * leaves
    yield "nodes_values", float32_below(tree.thresholds).astype(float).tolist() + [0.0] * leaves
    yield "nodes_truenodeids", tree.left.tolist() + unused
    yield "nodes_falsenodeids", tree.right.tolist() + unused
    yield "target_treeids", [number] * leaves
    yield "target_nodeids", list(range(inner, inner + leaves))
    yield "target_ids", [0] * leaves
    yield "target_weights", tree.leaves.tolist()


def _tree(fields: Mapping[str, str]) -> Tree:
    if int(fields["num_leaves"]) == 1:
        none = np.empty(0, np.int64)
        return Tree(none, np.empty(0), none, none, _numbers(fields, "leaf_value"))
    left, right = (_numbers(fields, name).astype(np.int64) for name in ("left_child", "right_child"))
    inner = len(left)
    return Tree(
        _numbers(fields, "split_feature").astype(np.int64),
        _numbers(fields, "threshold"),
        _children(left, inner),
        _children(right, inner),
        _numbers(fields, "leaf_value"),
    )


def _children(numbers: NDArray[np.int64], inner: int) -> NDArray[np.int64]:
    """LightGBM writes leaf i as -1 - i."""
    return np.where(numbers < 0, inner - 1 - numbers, numbers)


def _fields(part: str) -> dict[str, str]:
    return {name: value for name, mark, value in (line.partition("=") for line in part.split("\n")) if mark}


def _numbers(fields: Mapping[str, str], name: str) -> NDArray[np.float64]:
    return np.array(fields[name].split(), np.float64)

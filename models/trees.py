"""Ensembles of regression trees as arrays, and as the attributes of ONNX's TreeEnsembleRegressor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree whose inner nodes are 0 to n - 1 and whose leaf i is node n + i.

    A row goes left when its feature is at most the threshold, or NaN where `missing_left` is set; at the nodes of
    `categories`, when it is one of these. The value of its leaf is added to the output `target`.
    """

    features: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    leaves: NDArray[np.float64]
    target: int = 0
    categories: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TreeEnsemble:
    """Trees over rows of `width` features. An output is its base value plus the leaves that a row reaches."""

    trees: tuple[Tree, ...]
    width: int
    bases: tuple[float, ...] = (0.0,)


def from_histograms(model: Any) -> TreeEnsemble:  # Any: scikit-learn has no types
    """Convert one of scikit-learn's fitted histogram gradient boosting models."""
    trees = tuple(
        _from_nodes(tree.nodes, target) for iteration in model._predictors for target, tree in enumerate(iteration)
    )
    bases = tuple(np.ravel(model._baseline_prediction).astype(float).tolist())
    return TreeEnsemble(trees, int(model.n_features_in_), bases)


def from_lightgbm(text: str) -> TreeEnsemble:
    """Parse a model in LightGBM's text format."""
    header, *parts = text.split("\nTree=")
    fields = _fields(header)
    targets = int(fields["num_tree_per_iteration"])
    trees = tuple(_from_text(_fields(part), number % targets) for number, part in enumerate(parts))
    return TreeEnsemble(trees, len(fields["feature_names"].split()), (0.0,) * targets)


def gains(text: str) -> dict[str, float]:
    """Return each feature's share of the total gain, from a model in LightGBM's text format."""
    header, *parts = text.split("\nTree=")
    names = _fields(header)["feature_names"].split()
    totals = np.zeros(len(names))
    for fields in map(_fields, parts):
        if int(fields["num_leaves"]) > 1:
            np.add.at(totals, _numbers(fields, "split_feature").astype(np.int64), _numbers(fields, "split_gain"))
    return dict(zip(names, (totals / max(totals.sum(), 1e-9)).tolist(), strict=True))


def onnx_attributes(ensemble: TreeEnsemble, *, is_double: bool = False) -> dict[str, Any]:  # Any: an ONNX attribute
    """Return the attributes of a TreeEnsembleRegressor (ai.onnx.ml 3) that computes the ensemble.

    `is_double`: the rows are float64, not float32. The sums are float32 in any case.
    """
    attributes: dict[str, Any] = {"n_targets": len(ensemble.bases), "base_values": list(ensemble.bases)}
    for number, tree in enumerate(ensemble.trees):
        for name, values in _columns(number, tree, is_double=is_double):
            attributes.setdefault(name, []).extend(values)
    if is_double:
        from onnx import TensorProto, helper

        for name in ("nodes_values", "target_weights", "base_values"):
            values = attributes.pop(name)
            attributes[f"{name}_as_tensor"] = helper.make_tensor(name, TensorProto.DOUBLE, [len(values)], values)
    return attributes


def float32_below(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest float32 that is not above each threshold.

    A float32 value is on the same side of it as of the float64 threshold.
    """
    with np.errstate(over="ignore"):
        nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _from_nodes(nodes: NDArray[Any], target: int) -> Tree:  # Any: a structured array
    """Convert scikit-learn's array of nodes, which mixes inner nodes and leaves."""
    is_leaf = nodes["is_leaf"].astype(bool)
    order = np.argsort(is_leaf, kind="stable")
    position = np.empty(len(nodes), np.int64)
    position[order] = np.arange(len(nodes))
    inner = nodes[~is_leaf]
    return Tree(
        features=inner["feature_idx"].astype(np.int64),
        thresholds=inner["num_threshold"].astype(np.float64),
        left=position[inner["left"]],
        right=position[inner["right"]],
        missing_left=inner["missing_go_to_left"].astype(bool),
        leaves=nodes[is_leaf]["value"].astype(np.float64),
        target=target,
    )


def _from_text(fields: Mapping[str, str], target: int) -> Tree:
    """Convert a tree of LightGBM's text format."""
    leaves = _numbers(fields, "leaf_value")
    if int(fields["num_leaves"]) == 1:
        empty = np.empty(0, np.int64)
        return Tree(empty, np.empty(0), empty, empty, np.empty(0, bool), leaves, target)
    left, right = (_numbers(fields, name).astype(np.int64) for name in ("left_child", "right_child"))
    thresholds = _numbers(fields, "threshold")
    # Bit 0: categories; bit 1: missing values go left; bits 2 and 3: what is missing, 2 for NaN, 0 for nothing.
    decisions = _numbers(fields, "decision_type").astype(np.int64)
    has_missing = decisions >> 2 & 3 == 2
    return Tree(
        features=_numbers(fields, "split_feature").astype(np.int64),
        thresholds=thresholds,
        left=_children(left),
        right=_children(right),
        # Without missing values in training, NaN counts as 0.
        missing_left=np.where(has_missing, decisions & 2 > 0, thresholds >= 0.0),
        leaves=leaves,
        target=target,
        categories=_category_sets(fields, np.flatnonzero(decisions & 1).tolist(), thresholds),
    )


def _category_sets(
    fields: Mapping[str, str], nodes: Sequence[int], thresholds: NDArray[np.float64]
) -> dict[int, tuple[int, ...]]:
    """Return the categories that go left at each of `nodes`, whose threshold is the number of their bit set."""
    if not nodes:
        return {}
    bounds = _numbers(fields, "cat_boundaries").astype(np.int64)
    words = _numbers(fields, "cat_threshold").astype(np.uint32)
    sets = {}
    for node in nodes:
        number = int(thresholds[node])
        bits = np.unpackbits(words[bounds[number] : bounds[number + 1]].view(np.uint8), bitorder="little")
        sets[node] = tuple(np.flatnonzero(bits).tolist())
    return sets


def _children(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return node numbers from LightGBM's, which writes leaf i as -1 - i."""
    return np.where(numbers < 0, len(numbers) - 1 - numbers, numbers)


def _fields(part: str) -> dict[str, str]:
    return {name: value for name, mark, value in (line.partition("=") for line in part.split("\n")) if mark}


def _numbers(fields: Mapping[str, str], name: str) -> NDArray[np.float64]:
    return np.array(fields[name].split(), np.float64)


def _columns(number: int, tree: Tree, *, is_double: bool) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield one tree in the columns of TreeEnsembleRegressor.

    A set of categories is a chain of comparisons with one category each, which all have the same left child.
    """
    inner, leaves = len(tree.features), len(tree.leaves)
    thresholds = tree.thresholds if is_double else float32_below(tree.thresholds).astype(float)
    features, values = tree.features.tolist(), thresholds.tolist()
    left, right = tree.left.tolist(), tree.right.tolist()
    modes = ["BRANCH_LEQ"] * inner + ["LEAF"] * leaves
    missing = tree.missing_left.astype(int).tolist() + [0] * leaves
    for column in (features, values, left, right):
        column += [0] * leaves
    for node, (first, *others) in tree.categories.items():
        modes[node], values[node], missing[node], last = "BRANCH_EQ", float(first), 0, right[node]
        at = node
        for category in others:
            right[at] = at = len(features)
            features.append(features[node])
            values.append(float(category))
            left.append(left[node])
            right.append(last)
            modes.append("BRANCH_EQ")
            missing.append(0)
    yield "nodes_treeids", [number] * len(features)
    yield "nodes_nodeids", range(len(features))
    yield "nodes_featureids", features
    yield "nodes_modes", modes
    yield "nodes_values", [float(value) for value in values]
    yield "nodes_truenodeids", left
    yield "nodes_falsenodeids", right
    yield "nodes_missing_value_tracks_true", missing
    yield "target_treeids", [number] * leaves
    yield "target_nodeids", range(inner, inner + leaves)
    yield "target_ids", [tree.target] * leaves
    yield "target_weights", tree.leaves.tolist()

"""Ensembles of regression trees as arrays, and as the attributes of ONNX's TreeEnsembleRegressor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree whose inner nodes are 0 to n - 1 and whose leaf i is node n + i.

    A row goes left when its feature is at most the threshold, or NaN where `missing_left` is set. The value of its leaf
    is added to the output `target`.
    """

    features: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    leaves: NDArray[np.float64]
    target: int = 0


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


def onnx_attributes(ensemble: TreeEnsemble) -> dict[str, Any]:  # Any: what an ONNX attribute may hold
    """Return the attributes of a TreeEnsembleRegressor (ai.onnx.ml 3) that computes the ensemble."""
    attributes: dict[str, Any] = {"n_targets": len(ensemble.bases), "base_values": list(ensemble.bases)}
    for number, tree in enumerate(ensemble.trees):
        for name, values in _columns(number, tree):
            attributes.setdefault(name, []).extend(values)
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


def _columns(number: int, tree: Tree) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield one tree in the columns of TreeEnsembleRegressor."""
    inner, leaves = len(tree.features), len(tree.leaves)
    unused = [0] * leaves
    yield "nodes_treeids", [number] * (inner + leaves)
    yield "nodes_nodeids", range(inner + leaves)
    yield "nodes_featureids", tree.features.tolist() + unused
    yield "nodes_modes", ["BRANCH_LEQ"] * inner + ["LEAF"] * leaves
    yield "nodes_values", float32_below(tree.thresholds).astype(float).tolist() + [0.0] * leaves
    yield "nodes_truenodeids", tree.left.tolist() + unused
    yield "nodes_falsenodeids", tree.right.tolist() + unused
    yield "nodes_missing_value_tracks_true", tree.missing_left.astype(int).tolist() + unused
    yield "target_treeids", [number] * leaves
    yield "target_nodeids", range(inner, inner + leaves)
    yield "target_ids", [tree.target] * leaves
    yield "target_weights", tree.leaves.tolist()

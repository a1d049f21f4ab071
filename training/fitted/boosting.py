"""Gradient boosting of every library as trees: LightGBM, XGBoost and scikit-learn's histograms.

skl2onnx 1.20 converts none of them with these versions of the libraries. A model is its trees, what is added to their
sum, and the function that makes answers of scores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.trees import Tree, TreeEnsemble, from_histograms, from_lightgbm
from training.fitted.refusal import not_convertible

# What makes an answer of a score.
Link = Literal["", "exp", "sigmoid", "softmax"]

ENCODE = "encode categories with a OneHotEncoder in a pipeline"

_LIGHTGBM_LINKS: dict[str, Link] = {
    "binary": "sigmoid", "cross_entropy": "sigmoid", "multiclass": "softmax",
    "poisson": "exp", "gamma": "exp", "tweedie": "exp",
    "regression": "", "regression_l1": "", "huber": "", "fair": "", "quantile": "", "mape": "",
    "lambdarank": "", "rank_xendcg": "",
}  # fmt: skip
_XGBOOST_LINKS: dict[str, Link] = {
    "binary:logistic": "sigmoid", "reg:logistic": "sigmoid", "multi:softprob": "softmax", "multi:softmax": "softmax",
    "count:poisson": "exp", "reg:gamma": "exp", "reg:tweedie": "exp",
    "reg:squarederror": "", "reg:absoluteerror": "", "reg:pseudohubererror": "", "reg:quantileerror": "",
    "rank:ndcg": "", "rank:map": "", "rank:pairwise": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Boosted:
    """Fitted boosting: trees, what is added to the sum of each output, and how scores become answers.

    `scale` multiplies scores before a sigmoid. `is_float32`: the features are rounded to float32 before they are
    compared.
    """

    trees: TreeEnsemble
    bases: NDArray[np.float64]
    link: Link
    is_float32: bool = False
    scale: float = 1.0


def from_estimator(model: Any) -> Boosted:  # Any: no common base
    """Return the boosting of a fitted estimator of LightGBM, XGBoost or scikit-learn. Raises NotConvertible."""
    library = type(model).__module__.partition(".")[0]
    if library == "lightgbm":
        return lightgbm(model.booster_.model_to_string())
    if library == "xgboost":
        return xgboost(model.get_booster())
    return _histograms(model)


def lightgbm(text: str) -> Boosted:
    """Return the boosting of a model in LightGBM's text format."""
    header = {name: value for name, mark, value in (line.partition("=") for line in text.split("\n")) if mark}
    objective, *options = header.get("objective", "regression").split()
    if objective not in _LIGHTGBM_LINKS or "sqrt" in options:
        raise not_convertible(f"LightGBM's objective '{' '.join([objective, *options])}' is not converted")
    if any(f"\n{line}" in text for line in ("is_linear=1", "[zero_as_missing: 1]")):
        raise not_convertible("LightGBM's linear_tree and zero_as_missing are not converted")
    trees = from_lightgbm(text)
    sigmoid = next((float(option.partition(":")[2]) for option in options if option.startswith("sigmoid:")), 1.0)
    # Random forests average.
    rounds = len(trees.trees) / len(trees.bases) if "\naverage_output\n" in text else 1.0
    return Boosted(trees, np.zeros(len(trees.bases)), _LIGHTGBM_LINKS[objective], scale=sigmoid / rounds)


def xgboost(booster: Any) -> Boosted:  # Any: an xgboost.Booster
    """Return the boosting of XGBoost, with the rounds up to the best one where it stopped early."""
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    objective, params = learner["objective"]["name"], learner["learner_model_param"]
    boosted = learner["gradient_booster"]
    if objective not in _XGBOOST_LINKS or boosted["name"] not in ("gbtree", "dart"):
        raise not_convertible(f"XGBoost's booster {boosted['name']} with the objective {objective} is not converted")
    link = _XGBOOST_LINKS[objective]
    if link == "sigmoid" and int(params["num_target"]) > 1:
        instead = "fit MultiOutputClassifier(XGBClassifier(...)) in its place"
        raise not_convertible("XGBoost's classifiers of several targets are not converted", instead=instead)
    outputs = max(1, int(params["num_class"]), int(params["num_target"]))
    bases = _scores_of(np.array(json.loads(params["base_score"]), np.float64), link).ravel()
    trees = TreeEnsemble(_xgboost_trees(boosted, learner["attributes"]), int(params["num_feature"]), (0.0,) * outputs)
    return Boosted(trees, np.broadcast_to(bases, (outputs,)).copy(), link, is_float32=True)


def _xgboost_trees(boosted: dict[str, Any], attributes: dict[str, str]) -> tuple[Tree, ...]:
    model = boosted["gbtree"]["model"] if boosted["name"] == "dart" else boosted["model"]
    trees = model["trees"]
    if any(any(tree["split_type"]) for tree in trees):
        raise not_convertible("XGBoost's splits by category are not converted", instead=ENCODE)
    if any(tree["tree_param"]["size_leaf_vector"] not in ("0", "1") for tree in trees):
        raise not_convertible("XGBoost's trees with several outputs are not converted")
    weights = boosted.get("weight_drop", [1.0] * len(trees))
    best = attributes.get("best_iteration")
    used = model["iteration_indptr"][int(best) + 1] if best is not None else len(trees)
    return tuple(
        _from_xgboost(tree, target, weight)
        for tree, target, weight in zip(trees[:used], model["tree_info"][:used], weights[:used], strict=True)
    )


def _scores_of(base: NDArray[np.float64], link: Link) -> NDArray[np.float64]:
    """Return the base score, which is written as an answer, as a score."""
    if link == "sigmoid":
        return np.asarray(np.log(base / (1 - base)))
    return np.asarray(np.log(base)) if link == "exp" else base


def _from_xgboost(tree: dict[str, Any], target: int, weight: float) -> Tree:
    """Convert a tree of XGBoost's JSON. Its rows go left below the threshold, not at it."""
    left, right = np.array(tree["left_children"], np.int64), np.array(tree["right_children"], np.int64)
    is_leaf = left < 0
    position = np.empty(len(left), np.int64)
    order = np.argsort(is_leaf, kind="stable")
    position[order] = np.arange(len(left))
    thresholds = np.array(tree["split_conditions"], np.float32)
    inner = ~is_leaf
    below = np.nextafter(thresholds[inner], np.float32(-np.inf))
    return Tree(
        features=np.array(tree["split_indices"], np.int64)[inner],
        thresholds=below.astype(np.float64),
        left=position[left[inner]],
        right=position[right[inner]],
        missing_left=np.array(tree["default_left"], bool)[inner],
        leaves=weight * thresholds[is_leaf].astype(np.float64),
        target=target,
    )


def _histograms(model: Any) -> Boosted:
    """Return one of scikit-learn's histogram gradient boosting models."""
    if model.is_categorical_ is not None:
        raise not_convertible(f"categories inside of {type(model).__name__} are not converted", instead=ENCODE)
    trees = from_histograms(model)
    link: Link = "softmax" if len(trees.bases) > 1 else "sigmoid"
    if not hasattr(model, "classes_"):
        link = "exp" if model.loss in ("poisson", "gamma") else ""
    bases = np.array(trees.bases)
    return Boosted(TreeEnsemble(trees.trees, trees.width, (0.0,) * len(bases)), bases, link)

"""Convert a fitted `TablePredictor` to one ONNX graph, from the encoded rows to the answers.

The graph is written node by node: skl2onnx 1.20 does not convert LightGBM, `SimpleImputer(add_indicator=True)` and
`TargetEncoder`. All arithmetic is in float64, because integers over 2^24 and estimates far from zero do not fit into
float32; only the sums of the trees are float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from models.onnx_session import OUTPUT_NAME
from models.onnx_writer import TREE_DOMAIN
from models.tabular.tokens import BUCKETS
from models.trees import from_lightgbm, onnx_attributes
from training.onnx_graph import OnnxGraph
from training.tabular.boosting import Boosting
from training.tabular.calibration import EPSILON, Calibration
from training.tabular.candidates import PreparedModel
from training.tabular.predictor import TablePredictor
from training.tabular.preparation import CODES, NUMBERS, ONE_HOT, TARGET_MEANS
from training.tabular.text_vectors import TextVectors

# Added to codes of categories, so that MISSING and NONE_OF_THESE become positions of a table.
_CODE_OFFSET = 2


def to_onnx(fitted: TablePredictor) -> bytes:
    """Return the graph of `fitted`, for `models.tabular.model`: `rows` float64 (N, W) to `answers`.

    Answers are probabilities, float32 (N, K), or estimates, float64 (N, 1).
    """
    graph = OnnxGraph()
    answers = _mean(graph, [(weight, _part(graph, part)) for weight, part in fitted.parts])
    if fitted.classes:
        if fitted.calibration is not None:
            answers = _calibrated(graph, answers, fitted.calibration, classes=fitted.classes)
        graph.add("Cast", [answers], name=OUTPUT_NAME, to=TensorProto.FLOAT)
    else:
        scaled = graph.add("Mul", [answers, graph.constant(np.array([fitted.scale]))])
        graph.add("Add", [scaled, graph.constant(np.array([fitted.mean]))], name=OUTPUT_NAME)
    columns = fitted.parts[0][1].preparation.n_features_in_
    gives = np.float32 if fitted.classes else np.float64
    return graph.encode(name="tabular", columns=columns, outputs=max(1, fitted.classes), takes=np.float64, gives=gives)


def _mean(graph: OnnxGraph, parts: Sequence[tuple[float, str]]) -> str:
    if len(parts) == 1:
        return parts[0][1]
    weighted = [graph.add("Mul", [part, graph.constant(np.array([weight]))]) for weight, part in parts]
    return graph.add("Sum", weighted)


def _part(graph: OnnxGraph, part: PreparedModel) -> str:
    """Add one part: probabilities (N, K), or estimates (N, 1)."""
    features = _prepared(graph, part.preparation)
    if isinstance(part.model, Boosting):
        attributes = onnx_attributes(from_lightgbm(part.model.text()), is_double=True)
        trees = graph.add("TreeEnsembleRegressor", [features], domain=TREE_DOMAIN, **attributes)
        scores = graph.add("Cast", [trees], to=TensorProto.DOUBLE)
    else:
        weights = np.atleast_2d(part.model.coef_).T.astype(np.float64)
        bias = np.atleast_1d(part.model.intercept_).astype(np.float64)
        scores = graph.add("Add", [graph.add("MatMul", [features, graph.constant(weights)]), graph.constant(bias)])
    if not part.classes:
        return scores
    return _both_classes(graph, graph.add("Sigmoid", [scores])) if part.classes == 2 else _softmax(graph, scores)


def _prepared(graph: OnnxGraph, preparation: ColumnTransformer) -> str:
    parts = []
    for name, transformer, positions in preparation.transformers_:
        if name == "remainder":
            continue
        chosen = graph.columns(positions)
        if name == NUMBERS:
            parts.append(_filled(graph, chosen, transformer) if isinstance(transformer, Pipeline) else chosen)
        elif name == CODES:
            is_known = graph.add("GreaterOrEqual", [chosen, graph.constant(np.array(0.0))])
            parts.append(graph.add("Where", [is_known, chosen, graph.constant(np.array(np.nan))]))
        elif name == ONE_HOT:
            parts.append(_one_hot(graph, positions, transformer.categories_))
        elif name == TARGET_MEANS:
            parts.append(_target_means(graph, positions, transformer))
        else:
            parts.append(_text(graph, chosen, transformer))
    return parts[0] if len(parts) == 1 else graph.add("Concat", parts, axis=1)


def _filled(graph: OnnxGraph, numbers: str, transformer: Pipeline) -> str:
    fill, scale = transformer["fill"], transformer["scale"]
    is_missing = graph.add("IsNaN", [numbers])
    filled = graph.add("Where", [is_missing, graph.constant(fill.statistics_.astype(np.float64)), numbers])
    if len(fill.indicator_.features_):
        flagged = graph.constant(fill.indicator_.features_.astype(np.int64))
        flags = graph.add("Cast", [is_missing], to=TensorProto.DOUBLE)
        filled = graph.add("Concat", [filled, graph.add("Gather", [flags, flagged], axis=1)], axis=1)
    return _scaled(graph, filled, scale)


def _scaled(graph: OnnxGraph, numbers: str, scale: Any) -> str:  # Any: a StandardScaler
    centred = graph.add("Sub", [numbers, graph.constant(scale.mean_)])
    return graph.add("Div", [centred, graph.constant(scale.scale_)])


def _one_hot(graph: OnnxGraph, positions: Sequence[int], categories: Sequence[NDArray[np.float64]]) -> str:
    repeated = np.repeat(np.array(positions, np.int64), [len(codes) for codes in categories])
    codes = graph.columns(repeated.tolist())
    is_equal = graph.add("Equal", [codes, graph.constant(np.concatenate(categories).astype(np.float64))])
    return graph.add("Cast", [is_equal], to=TensorProto.DOUBLE)


def _target_means(graph: OnnxGraph, positions: Sequence[int], transformer: Pipeline) -> str:
    """Add a look-up in a table of target means for each column, and their scaling."""
    means = transformer["means"]
    unknown = np.atleast_1d(means.target_mean_)
    parts = []
    for number, position in enumerate(positions):
        codes = means.categories_[number].astype(np.int64) + _CODE_OFFSET
        table = np.tile(unknown, (int(codes.max()) + 2, 1))
        for output in range(len(unknown)):
            table[codes, output] = means.encodings_[number * len(unknown) + output]
        # Codes that the encoder does not know have the last row: it is the mean of all rows.
        code = graph.add("Add", [graph.columns([position]), graph.constant(np.array(float(_CODE_OFFSET)))])
        bounded = graph.add("Clip", [code, graph.constant(np.array(0.0)), graph.constant(np.array(len(table) - 1.0))])
        index = graph.add("Cast", [bounded], to=TensorProto.INT64)
        flat = graph.add("Squeeze", [index, graph.constant(np.array([1], np.int64))])
        parts.append(graph.add("Gather", [graph.constant(table), flat], axis=0))
    joined = parts[0] if len(parts) == 1 else graph.add("Concat", parts, axis=1)
    return _scaled(graph, joined, transformer["scale"])


def _text(graph: OnnxGraph, buckets: str, transformer: TextVectors) -> str:
    """Add the sum of the vectors of a text's words, divided by its length."""
    last = graph.constant(np.array(float(BUCKETS)))
    is_word = graph.add("GreaterOrEqual", [buckets, graph.constant(np.array(0.0))])
    index = graph.add("Cast", [graph.add("Where", [is_word, buckets, last])], to=TensorProto.INT64)
    axis = graph.constant(np.array([1], np.int64))
    vectors = graph.add("Gather", [graph.constant(transformer.vectors_), index], axis=0)
    total = graph.add("ReduceSum", [vectors, axis], keepdims=0)
    weights = graph.add("Gather", [graph.constant(transformer.weights_), index], axis=0)
    squares = graph.add("ReduceSum", [weights, axis], keepdims=1)
    has_words = graph.add("Greater", [squares, graph.constant(np.array(0.0))])
    length = graph.add("Sqrt", [graph.add("Where", [has_words, squares, graph.constant(np.array(1.0))])])
    return graph.add("Div", [total, length])


def _calibrated(graph: OnnxGraph, answers: str, calibration: Calibration, *, classes: int) -> str:
    bounds = [graph.constant(np.array(each)) for each in (EPSILON, 1 - EPSILON)]
    clipped = graph.add("Clip", [answers, *bounds])
    slope = graph.constant(np.array([calibration.slope]))
    if classes > 2:
        return _softmax(graph, graph.add("Mul", [graph.add("Log", [clipped]), slope]))
    second = graph.add("Gather", [clipped, graph.constant(np.array([1], np.int64))], axis=1)
    rest = graph.add("Sub", [graph.constant(np.array(1.0)), second])
    odds = graph.add("Log", [graph.add("Div", [second, rest])])
    shifted = graph.add("Add", [graph.add("Mul", [odds, slope]), graph.constant(np.array([calibration.offset]))])
    return _both_classes(graph, graph.add("Sigmoid", [shifted]))


def _softmax(graph: OnnxGraph, scores: str) -> str:
    return graph.add("Softmax", [scores], axis=1)


def _both_classes(graph: OnnxGraph, second: str) -> str:
    first = graph.add("Sub", [graph.constant(np.array([[1.0]])), second])
    return graph.add("Concat", [first, second], axis=1)

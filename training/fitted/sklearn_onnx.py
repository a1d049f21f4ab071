"""A fitted estimator of scikit-learn, LightGBM, XGBoost or CatBoost as one ONNX graph over encoded rows.

skl2onnx converts the estimator. Its inputs are made from the encoded rows: one matrix of all columns where they are
numbers, else one input per column, and the codes of categories become the texts that the estimator was fitted to.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from models.errors import NotConvertible
from models.onnx_session import INPUT_NAME, OUTPUT_NAME
from models.tabular import answers
from training.fitted.answers import Answers, Estimator
from training.fitted.boosting import ENCODE
from training.fitted.refusal import first_line, not_convertible
from training.fitted.rows import Rows
from training.onnx_graph import OnnxGraph

NumberType = Literal["float64", "float32"]
# Adds nodes that undo a transformation of the target.
Inverse = Callable[[OnnxGraph, str], str]

# The first one that is supported by all parts of the estimator is used.
NUMBER_TYPES: tuple[NumberType, ...] = ("float64", "float32")

_OPSETS = {"": 18, "ai.onnx.ml": 3}
_MATRIX = "X"
# Codes of categories, -2 and up, become positions of a table.
_CODE_OFFSET = 2


def to_graph(model: Estimator, rows: Rows, given: Answers, number_type: NumberType) -> bytes:
    """Return the graph of `model`: `rows` float64 (N, W) to the answers. Raises NotConvertible."""
    _check(model, given)
    model, inverse = _without_target_transform(model)
    graph = OnnxGraph()
    tokens = _tokens(rows)
    if rows.has_categories and takes_columns(model):
        feeds = {f"c{number}": _column(graph, rows, number, tokens, number_type) for number in range(len(rows.columns))}
    else:
        feeds = {_MATRIX: _matrix(graph, rows, number_type)}
    parts = []
    for part in _split(_prepared(model, tokens)):
        converted = _convert(part, _input_types(rows, list(feeds), number_type))
        used = {each.name: feeds[each.name] for each in converted.graph.input}
        (output,) = graph.include(converted, used, [_output(converted, given)])
        parts.append(output)
    _answer(graph, parts, given, inverse)
    width = given.values.shape[1]
    gives = np.float32 if given.is_probability else np.float64
    return graph.encode(name="fitted", columns=rows.encoded.shape[1], outputs=width, takes=np.float64, gives=gives)


def takes_columns(model: Estimator) -> bool:
    """Return whether a part of the model takes columns one by one, as a ColumnTransformer does."""
    return any(isinstance(part, ColumnTransformer) for part in _parts(model))


def unwrapped(model: Estimator) -> Estimator:
    """Return the best estimator of a search."""
    return unwrapped(model.best_estimator_) if hasattr(model, "best_estimator_") else model


def _check(model: Estimator, given: Answers) -> None:
    """Raise NotConvertible for parts that skl2onnx converts wrongly, or only with an error that does not help."""
    name = type(model).__name__
    if given.task == answers.MULTI_CLASS and not given.is_paired and len(_split(model)) == 1:
        instead = f"fit MultiOutputClassifier({name}(...)) in its place"
        raise not_convertible(f"{name} with several targets is not converted", instead=instead)
    for part in _parts(model):
        if isinstance(part, IsotonicRegression):
            # skl2onnx 1.20 takes the nearest threshold instead of a value between two.
            raise not_convertible(f"isotonic calibration in {name} is not converted", instead="use method='sigmoid'")
        is_boosting = isinstance(part, HistGradientBoostingClassifier | HistGradientBoostingRegressor)
        if is_boosting and getattr(part, "is_categorical_", None) is not None:
            raise not_convertible(f"categories inside of {type(part).__name__} are not converted", instead=ENCODE)


def _convert(model: Estimator, inputs: Sequence[tuple[str, Any]]) -> onnx.ModelProto:
    try:
        from skl2onnx import to_onnx

        from training.fitted.converters import register
    except ModuleNotFoundError as error:
        raise NotConvertible("skl2onnx is not installed; run: pip install skl2onnx") from error
    register()
    is_classifier = hasattr(model, "predict_proba") and hasattr(model, "classes_")
    options = {id(model): {"zipmap": False}} if is_classifier else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted: onnx.ModelProto = to_onnx(
                model, initial_types=list(inputs), options=options, target_opset=_OPSETS
            )
            return converted
    except NotConvertible:
        raise
    except Exception as error:  # skl2onnx raises many types
        what = _unknown_part(model, error) or f"{type(model).__name__} cannot be written as ONNX ({first_line(error)})"
        raise not_convertible(what) from error


def _unknown_part(model: Estimator, error: Exception) -> str:
    """Return what is wrong where skl2onnx does not know the class of a part, else an empty text."""
    if type(error).__name__ not in ("MissingShapeCalculator", "MissingConverter"):
        return ""
    unknown = [part for part in _parts(model) if f"'{type(part)}'" in str(error) or type(part).__name__ in str(error)]
    name = type(unknown[-1]).__name__ if unknown else type(model).__name__
    return f"{name} cannot be written as ONNX"


def _parts(value: Any, seen: set[int] | None = None) -> Iterator[BaseEstimator]:  # Any: the fitted state of estimators
    """Yield all estimators inside of a fitted model, and the model itself."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, BaseEstimator):
        yield value
    if isinstance(value, BaseEstimator) or type(value).__module__.startswith("sklearn."):
        for each in getattr(value, "__dict__", {}).values():
            yield from _parts(each, seen)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _parts(each, seen)
    elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        for each in value:
            yield from _parts(each, seen)


def _prepared(model: Estimator, tokens: Sequence[str]) -> Estimator:
    """Return a copy that skl2onnx can read: columns by position, missing texts as their token."""
    prepared = copy.deepcopy(model)
    missing = tokens[1] if tokens else ""
    for part in _parts(prepared):
        if isinstance(part, ColumnTransformer):
            positions = part._transformer_to_input_indices
            part.transformers_ = [
                (name, transformer, positions.get(name, columns)) for name, transformer, columns in part.transformers_
            ]
        if isinstance(part, SimpleImputer) and np.asarray(getattr(part, "statistics_", 0.0)).dtype.kind in "OU":
            part.missing_values = missing
        if hasattr(part, "flatten_transform"):
            part.flatten_transform = False
        if isinstance(getattr(part, "categories_", None), list):
            part.categories_ = [_without_gaps(each, missing) for each in part.categories_]
    return prepared


def _without_gaps(categories: NDArray[Any], missing: str) -> NDArray[Any]:
    if categories.dtype != object:
        return categories
    return np.array([missing if each is None or each != each else each for each in categories], object)


def _split(model: Estimator) -> list[Estimator]:
    """Return one estimator per target of a model that has one for each, else the model."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if not isinstance(last, MultiOutputClassifier | MultiOutputRegressor):
        return [model]
    if not isinstance(model, Pipeline):
        return list(last.estimators_)
    return [Pipeline([*model.steps[:-1], ("target", each)]) for each in last.estimators_]


def _without_target_transform(model: Estimator) -> tuple[Estimator, Inverse]:
    """Return the model inside of a TransformedTargetRegressor, and what adds the inverse of its transformation."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if not isinstance(last, TransformedTargetRegressor):
        return model, lambda graph, value: value
    inner = (
        Pipeline([*model.steps[:-1], ("target", last.regressor_)]) if isinstance(model, Pipeline) else last.regressor_
    )
    transformer = last.transformer_
    if isinstance(transformer, StandardScaler):
        scale, mean = (np.asarray(each, np.float64) for each in (transformer.scale_, transformer.mean_))
        return inner, lambda graph, value: graph.add(
            "Add", [graph.add("Mul", [value, graph.constant(scale)]), graph.constant(mean)]
        )
    function = getattr(transformer, "inverse_func", None)
    if function is np.exp:
        return inner, lambda graph, value: graph.add("Exp", [value])
    if function is np.expm1:
        return inner, lambda graph, value: graph.add("Sub", [graph.add("Exp", [value]), graph.constant(np.array(1.0))])
    instead = "transform it with a StandardScaler, or with np.log or np.log1p and their inverse"
    raise not_convertible("this transformation of the target is not converted", instead=instead)


def _input_types(rows: Rows, names: Sequence[str], number_type: NumberType) -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    of_numbers = DoubleTensorType if number_type == "float64" else FloatTensorType
    if list(names) == [_MATRIX]:
        return [(_MATRIX, of_numbers([None, len(rows.columns)]))]
    types = [StringTensorType if _is_text(rows, number) else of_numbers for number in range(len(rows.columns))]
    return [(name, of_type([None, 1])) for name, of_type in zip(names, types, strict=True)]


def _is_text(rows: Rows, number: int) -> bool:
    return bool(rows.tables[number]) and all(isinstance(each, str) for each in rows.tables[number])


def _tokens(rows: Rows) -> tuple[str, str]:
    """Return texts that no category has: for an unknown category, and for a missing one."""
    known = {str(each) for table in rows.tables for each in table}
    return tuple(next(word for word in _variants(base) if word not in known) for base in ("(other)", "(missing)"))  # type: ignore[return-value]  # two


def _variants(word: str) -> Iterator[str]:
    while True:
        yield word
        word = f"({word})"


def _matrix(graph: OnnxGraph, rows: Rows, number_type: NumberType) -> str:
    """Add the matrix of all columns. The code of a category that is missing or unknown is NaN."""
    matrix = INPUT_NAME
    if rows.has_categories:
        is_code = graph.constant(np.array([[column.kind == "category" for column in rows.columns]]))
        is_unknown = graph.add("Less", [matrix, graph.constant(np.array(0.0))])
        is_gap = graph.add("And", [is_unknown, is_code])
        matrix = graph.add("Where", [is_gap, graph.constant(np.array(np.nan)), matrix])
    return _number(graph, matrix, number_type)


def _column(graph: OnnxGraph, rows: Rows, number: int, tokens: Sequence[str], number_type: NumberType) -> str:
    """Add one column as (N, 1): numbers, or the values of its categories."""
    column = graph.columns([number])
    table = rows.tables[number]
    if not table:
        return _number(graph, column, number_type)
    positions = graph.add("Add", [column, graph.constant(np.array(float(_CODE_OFFSET)))])
    index = graph.add("Cast", [positions], to=TensorProto.INT64)
    if _is_text(rows, number):
        return graph.add("Gather", [graph.constant(np.array([*tokens, *table], object)), index], axis=0)
    values = graph.constant(np.array([np.nan, np.nan, *map(float, table)]))  # type: ignore[arg-type]  # numbers
    return _number(graph, graph.add("Gather", [values, index], axis=0), number_type)


def _number(graph: OnnxGraph, value: str, number_type: NumberType) -> str:
    return graph.add("Cast", [value], to=TensorProto.FLOAT) if number_type == "float32" else value


def _output(model: onnx.ModelProto, given: Answers) -> str:
    """Return the output that holds the numbers: the only one, or the one after the labels."""
    names: list[str] = [output.name for output in model.graph.output]
    return names[0] if given.task in (answers.REGRESSION, answers.MULTI_REGRESSION) else names[1]


def _answer(graph: OnnxGraph, parts: Sequence[str], given: Answers, inverse: Inverse) -> None:
    """Add what makes the answers of the outputs of the converted parts."""
    cast = TensorProto.FLOAT if given.is_probability else TensorProto.DOUBLE
    numbers = [inverse(graph, graph.add("Cast", [part], to=cast)) for part in parts]
    if given.is_paired:
        one = graph.constant(np.array([1.0], np.float32))
        targets = len(given.outputs)
        second = numbers[0]
        both = graph.add("Concat", [graph.add("Sub", [one, second]), second], axis=1)
        order = [position for target in range(targets) for position in (target, targets + target)]
        numbers = [graph.add("Gather", [both, graph.constant(np.array(order, np.int64))], axis=1)]
    shape = graph.constant(np.array([-1, given.values.shape[1] // len(numbers)], np.int64))
    shaped = [graph.add("Reshape", [each, shape]) for each in numbers] if len(numbers) == 1 else numbers
    graph.add("Concat", shaped, axis=1, name=OUTPUT_NAME)

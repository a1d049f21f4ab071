"""Converters for skl2onnx: gradient boosting of every library, and the imputer of numbers.

skl2onnx 1.20 does not know LightGBM, XGBoost and CatBoost, fails on scikit-learn's histogram boosting, and has no
`SimpleImputer` in float64 or with an indicator. `register` is called before each conversion, because the library of a
model is imported by whoever has fitted it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from skl2onnx import get_model_alias, update_registered_converter
from skl2onnx.common._registration import get_converter, register_converter
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
    guess_proto_type,
)
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from skl2onnx.common.utils import check_input_and_output_numbers
from skl2onnx.operator_converters.common import concatenate_variables
from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer

from models.onnx_writer import TREE_DOMAIN
from models.trees import onnx_attributes
from training.fitted.boosting import Boosted, from_estimator
from training.fitted.refusal import first_line, not_convertible

_CLASSIFIERS = ("LGBMClassifier", "XGBClassifier", "XGBRFClassifier", "CatBoostClassifier")
_REGRESSORS = ("LGBMRegressor", "LGBMRanker", "XGBRegressor", "XGBRFRegressor", "XGBRanker", "CatBoostRegressor")
# scikit-learn's trees round rows to float32 before they compare, and thresholds may be equal to values.
_TREES = (
    "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor",
    "RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor",
    "GradientBoostingClassifier", "GradientBoostingRegressor", "IsolationForest",
)  # fmt: skip
_OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}


def register() -> None:
    """Register the converters, also for the libraries that have been imported since the last call."""
    update_registered_converter(SimpleImputer, "SimpleImputerOfAnyKind", _imputed_shape, _convert_imputer)
    for name in _TREES:
        known = get_converter(f"Sklearn{name}")
        if not isinstance(known._fct, _InFloat32):
            options = known.get_allowed_options()
            register_converter(f"Sklearn{name}", _InFloat32(known._fct), overwrite=True, options=options)
    _register(HistGradientBoostingClassifier, is_classifier=True)
    _register(HistGradientBoostingRegressor, is_classifier=False)
    for library in ("lightgbm", "xgboost", "catboost"):
        module = sys.modules.get(library)
        for name in (*_CLASSIFIERS, *_REGRESSORS):
            if hasattr(module, name):
                _register(getattr(module, name), is_classifier=name in _CLASSIFIERS)


def _register(model: type, *, is_classifier: bool) -> None:
    is_catboost = model.__module__.startswith("catboost")
    update_registered_converter(
        model,
        f"Boosting{model.__name__}",
        calculate_linear_classifier_output_shapes if is_classifier else calculate_linear_regressor_output_shapes,
        _convert_catboost if is_catboost else _convert_boosting,
        parser=_parse_catboost if is_catboost and is_classifier else None,
        options=_OPTIONS if is_classifier else None,
    )


def _parse_catboost(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """Declare the outputs of a classifier: CatBoost's class is not scikit-learn's."""
    operator = scope.declare_local_operator(get_model_alias(type(model)), model)
    operator.inputs = inputs
    is_text = np.asarray(model.classes_).dtype.kind in "OU"
    operator.outputs.append(scope.declare_local_variable("label", StringTensorType() if is_text else Int64TensorType()))
    operator.outputs.append(scope.declare_local_variable("probabilities", type(inputs[0].type)()))
    return list(operator.outputs)


class _Nodes:
    """The nodes of one operator. Any: skl2onnx has no types."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope, self._container = scope, container

    def add(self, operator: str, inputs: list[str], *, output: str = "", version: int = 18, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = output or self._scope.get_unique_variable_name(operator.lower())
        name = self._scope.get_unique_operator_name(operator)
        domain = attributes.pop("domain", "")
        self._container.add_node(
            operator, inputs, [output], name=name, op_domain=domain, op_version=version, **attributes
        )
        return output

    def constant(self, values: NDArray[Any]) -> str:
        """Add an array and return its name."""
        name: str = self._scope.get_unique_variable_name("constant")
        if values.dtype.kind in "OU":
            texts = [str(value) for value in values.ravel()]
            self._container.add_initializer(name, TensorProto.STRING, list(values.shape), texts)
        else:
            of_type = helper.np_dtype_to_tensor_dtype(values.dtype)
            self._container.add_initializer(name, of_type, list(values.shape), values.ravel().tolist())
        return name


class _InFloat32:
    """A converter of skl2onnx whose operator is computed in float32, among others that are computed in float64."""

    def __init__(self, convert: Callable[[Any, Any, Any], None]) -> None:
        self._convert = convert

    def __call__(self, scope: Any, operator: Any, container: Any) -> None:
        rows = operator.inputs[0]
        if not isinstance(rows.type, DoubleTensorType):
            self._convert(scope, operator, container)
            return
        nodes = _Nodes(scope, container)
        outputs = {at: each for at, each in enumerate(operator.outputs) if isinstance(each.type, DoubleTensorType)}
        rounded = scope.declare_local_variable("rounded", FloatTensorType(rows.type.shape))
        nodes.add("Cast", [rows.full_name], output=rounded.full_name, to=TensorProto.FLOAT)
        operator.inputs.set_element(0, rounded)
        for at, each in outputs.items():
            operator.outputs.set_element(at, scope.declare_local_variable("answer", FloatTensorType(each.type.shape)))
        self._convert(scope, operator, container)
        for at, each in outputs.items():
            nodes.add("Cast", [operator.outputs[at].full_name], output=each.full_name, to=TensorProto.DOUBLE)
            operator.outputs.set_element(at, each)
        operator.inputs.set_element(0, rows)


def _convert_boosting(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    nodes = _Nodes(scope, container)
    answers = _boosted(nodes, operator.inputs[0].full_name, from_estimator(model))
    if len(operator.outputs) == 1:
        _cast(nodes, answers, operator.outputs[0])
        return
    answers = _cast(nodes, answers, operator.outputs[1])
    likeliest = nodes.add("ArgMax", [answers], axis=1, keepdims=0)
    classes = np.asarray(model.classes_)
    labels = classes if classes.dtype.kind in "OU" else classes.astype(np.int64)
    nodes.add("Gather", [nodes.constant(labels), likeliest], output=operator.outputs[0].full_name)


def _boosted(nodes: _Nodes, rows: str, boosted: Boosted) -> str:
    """Add the trees and their link: probabilities (N, K), or estimates (N, T), float64."""
    kind = TensorProto.FLOAT if boosted.is_float32 else TensorProto.DOUBLE
    attributes = onnx_attributes(boosted.trees, is_double=not boosted.is_float32)
    features = nodes.add("Cast", [rows], to=kind)
    sums = nodes.add("TreeEnsembleRegressor", [features], domain=TREE_DOMAIN, version=3, **attributes)
    scores = nodes.add("Cast", [sums], to=TensorProto.DOUBLE)
    scores = nodes.add("Add", [scores, nodes.constant(boosted.bases.reshape(1, -1))])
    if boosted.scale != 1.0:
        scores = nodes.add("Mul", [scores, nodes.constant(np.array([boosted.scale]))])
    if boosted.link == "exp":
        return nodes.add("Exp", [scores])
    if boosted.link == "softmax":
        return nodes.add("Softmax", [scores], axis=1)
    if boosted.link != "sigmoid":
        return scores
    second = nodes.add("Sigmoid", [scores])
    return nodes.add("Concat", [nodes.add("Sub", [nodes.constant(np.array([1.0])), second]), second], axis=1)


def _cast(nodes: _Nodes, value: str, output: Any) -> str:
    return nodes.add("Cast", [value], output=output.full_name, to=guess_proto_type(output.type))


def _convert_catboost(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes that CatBoost's own export writes, without the last one, which makes a map of probabilities."""
    model = operator.raw_operator
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            model.save_model(str(path), format="onnx")
        except Exception as error:  # CatBoost's own class
            raise not_convertible(f"CatBoost does not export this model: {first_line(error)}") from error
        (trees,) = (node for node in onnx.load(path).graph.node if node.op_type.startswith("TreeEnsemble"))
    nodes = _Nodes(scope, container)
    features = nodes.add("Cast", [operator.inputs[0].full_name], to=TensorProto.FLOAT)
    attributes = {each.name: helper.get_attribute_value(each) for each in trees.attribute}
    if len(operator.outputs) == 1:
        if trees.op_type != "TreeEnsembleRegressor":
            instead = "fit MultiOutputRegressor(CatBoostRegressor(...)) in its place"
            raise not_convertible("CatBoost does not export estimates of several targets", instead=instead)
        estimates = nodes.add(trees.op_type, [features], domain=TREE_DOMAIN, version=1, **attributes)
        if str(model.get_all_params()["loss_function"]).startswith(("Poisson", "Tweedie")):
            estimates = nodes.add("Exp", [estimates])
        _cast(nodes, estimates, operator.outputs[0])
        return
    shares = scope.get_unique_variable_name("shares")
    name = scope.get_unique_operator_name(trees.op_type)
    outputs = [operator.outputs[0].full_name, shares]
    container.add_node(trees.op_type, [features], outputs, name=name, op_domain=TREE_DOMAIN, op_version=1, **attributes)
    _cast(nodes, shares, operator.outputs[1])


def _convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    imputer = operator.raw_operator
    if isinstance(operator.inputs[0].type, StringTensorType):
        convert_sklearn_imputer(scope, operator, container)
        return
    nodes = _Nodes(scope, container)
    dtype = np.float32 if isinstance(operator.inputs[0].type, FloatTensorType) else np.float64
    rows = concatenate_variables(scope, operator.inputs, container)
    rows = nodes.add("Cast", [rows], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    if _is_nan(imputer.missing_values):
        is_missing = nodes.add("IsNaN", [rows])
    else:
        is_missing = nodes.add("Equal", [rows, nodes.constant(np.array(imputer.missing_values, dtype))])
    fill = np.asarray(imputer.statistics_, dtype)
    filled = nodes.add("Where", [is_missing, nodes.constant(fill), rows])
    kept = _kept(imputer)
    if len(kept) < len(fill):
        filled = nodes.add("Gather", [filled, nodes.constant(kept)], axis=1)
    if imputer.indicator_ is not None and len(imputer.indicator_.features_):
        flags = nodes.add("Cast", [is_missing], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
        flagged = nodes.constant(np.asarray(imputer.indicator_.features_, np.int64))
        filled = nodes.add("Concat", [filled, nodes.add("Gather", [flags, flagged], axis=1)], axis=1)
    _cast(nodes, filled, operator.outputs[0])


def _imputed_shape(operator: Any) -> None:
    check_input_and_output_numbers(operator, output_count_range=1)
    imputer = operator.raw_operator
    width = (
        len(_kept(imputer)) if not isinstance(operator.inputs[0].type, StringTensorType) else len(imputer.statistics_)
    )
    if imputer.indicator_ is not None:
        width += len(imputer.indicator_.features_)
    rows = operator.inputs[0].type.shape[0]
    if isinstance(operator.inputs[0].type, StringTensorType | FloatTensorType):
        operator.outputs[0].type = type(operator.inputs[0].type)([rows, width])
    else:
        operator.outputs[0].type = DoubleTensorType([rows, width])


def _kept(imputer: SimpleImputer) -> NDArray[np.int64]:
    """Return the columns that an imputer of numbers returns: it drops those that had no value."""
    if imputer.keep_empty_features or imputer.strategy == "constant":
        return np.arange(len(imputer.statistics_))
    return np.flatnonzero(~np.isnan(np.asarray(imputer.statistics_, np.float64)))


def _is_nan(value: object) -> bool:
    return value is None or (isinstance(value, float) and bool(np.isnan(value)))

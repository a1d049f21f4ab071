"""Saving of neural networks over numbers: a `torch.nn.Module`, or an ONNX file of any library."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy.special import expit, softmax

from models.errors import DataInvalid, NotConvertible
from models.onnx_session import INPUT_NAME, OUTPUT_NAME, open_session
from models.store.artifacts import Artifact
from training.fitted.answers import Answers, estimates, probabilities
from training.fitted.options import SaveOptions
from training.fitted.refusal import first_line, not_convertible
from training.fitted.rows import Rows, mixed, read_rows
from training.fitted.tables import ConvertedTable, compare, save_table
from training.fitted.targets import target_names, true_values
from training.onnx_graph import OnnxGraph

_INPUT, _OUTPUT = "rows", "answers"
# Encoded rows (N, F) to outputs (N,) or (N, K).
Answer = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_OPSET = 18
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
# Of the sum of probabilities.
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class _Network:
    """A network as ONNX, how it answers where it comes from, and its input and output."""

    model: onnx.ModelProto
    answer: Answer
    algorithm: str
    library: str
    input: str = _INPUT
    output: str = _OUTPUT


def save_module(module: Any, given: Any, y: Any, options: SaveOptions) -> Artifact:  # Any: torch is heavy to import
    """Save a `torch.nn.Module` over rows of numbers, in evaluation mode."""
    import torch

    rows = _rows_of_numbers(given)
    was_training = module.training
    module.eval()
    dtype = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)

    def answer(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        with torch.inference_mode():
            output = module(torch.tensor(encoded, dtype=dtype))
        if not isinstance(output, torch.Tensor):
            raise not_convertible(f"{type(module).__name__} returns {type(output).__name__}, not one tensor")
        return np.asarray(output.double().cpu().numpy(), np.float64)

    try:
        values = _answered(answer, rows, type(module).__name__)
        network = _exported(module, torch.tensor(np.resize(rows.encoded, (2, len(rows.columns))), dtype=dtype))
        made = _Network(network, answer, f"{type(module).__name__} of torch", "torch")
        return _save(made, rows, values, y, options)
    finally:
        module.train(was_training)


def save_onnx_file(path: Path, given: Any, y: Any, options: SaveOptions) -> Artifact:
    """Save an ONNX file with one input of rows of numbers."""
    rows = _rows_of_numbers(given)
    try:
        network = onnx.load(path)
        session = open_session(network.SerializeToString())
    except FileNotFoundError as error:
        raise DataInvalid(f"no file '{path}'") from error
    except Exception as error:  # ONNX's and ONNX Runtime's errors have no common base but Exception
        raise not_convertible(f"ONNX Runtime cannot load '{path.name}' ({first_line(error)})") from error
    source = _checked_input(network, path.name, len(rows.columns))
    output = _output_of(network, path.name)
    dtype = helper.tensor_dtype_to_np_dtype(source.type.tensor_type.elem_type)

    def answer(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(session.run([output], {source.name: encoded.astype(dtype)})[0], np.float64)

    values = _answered(answer, rows, path.name)
    algorithm = f"network of {network.producer_name or 'an ONNX file'}"
    return _save(_Network(network, answer, algorithm, "onnx", source.name, output), rows, values, y, options)


def _rows_of_numbers(given: Any) -> Rows:
    rows = read_rows(given)
    if rows.has_categories:
        raise DataInvalid("X has columns of texts, and a network takes numbers; give X as the network takes it")
    if np.isnan(rows.encoded).any():
        raise DataInvalid("X has missing values, and a network takes numbers; fill them")
    return rows


def _exported(module: Any, example: Any) -> onnx.ModelProto:
    """Return the module as ONNX. Raises NotConvertible."""
    import torch

    try:
        import onnxscript  # noqa: F401  (torch.onnx imports it when it exports)
    except ModuleNotFoundError as error:
        raise NotConvertible("onnxscript is not installed; run: pip install onnxscript") from error
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                input_names=[_INPUT],
                output_names=[_OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("N")},),
                opset_version=_OPSET,
                verbose=False,
            )
    except Exception as error:  # torch raises many types
        raise not_convertible(f"{type(module).__name__} cannot be exported to ONNX ({first_line(error)})") from error
    finally:
        logger.setLevel(level)
    model: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]  # with dynamo it is a program
    return model


def _answered(answer: Answer, rows: Rows, name: str) -> NDArray[np.float64]:
    try:
        values: NDArray[np.float64] = answer(rows.encoded)
    except NotConvertible:
        raise
    except Exception as error:  # torch and ONNX Runtime raise many types
        raise DataInvalid(f"{name} does not take the rows of X: {first_line(error)}") from error
    if values.ndim > 2 or len(values) != len(rows):
        raise not_convertible(f"{name} answers with the shape {values.shape}, not (N,) or (N, outputs)")
    return values.reshape(len(rows), -1)


def _save(network: _Network, rows: Rows, values: NDArray[np.float64], y: Any, options: SaveOptions) -> Artifact:
    truth = true_values(y, rows=len(rows))
    head = _head(network, values, options.classes)
    if head == "numbers" and truth is not None and truth.shape[1] != values.shape[1]:
        raise DataInvalid(f"the network has {values.shape[1]} outputs; for a classifier name them: classes=[...]")
    answers = _answers(values, head, options.classes, target_names(y))
    graph = _graph(network, rows, answers, head)
    others = mixed(rows)
    expected = network.answer(others.encoded).reshape(len(others.encoded), -1)
    more = compare(graph, others.encoded, _answers(expected, head, options.classes, ()))
    agreement = compare(graph, rows.encoded, answers).with_more(more)
    table = ConvertedTable(graph, rows, answers, agreement, network.algorithm, (network.library,))
    return save_table(table, truth, options)


def _head(network: _Network, values: NDArray[np.float64], classes: Sequence[str]) -> str:
    """Return what the outputs are: "numbers"; "probabilities" or "scores" of all classes, or of the second of two."""
    width = values.shape[1]
    if not classes:
        return "numbers"
    if width == len(classes):
        is_share = values.min() >= -_TOLERANCE and (np.abs(values.sum(axis=1) - 1) < _TOLERANCE).all()
        return "probabilities" if is_share else "scores"
    if width != 1 or len(classes) != 2:
        raise DataInvalid(f"{len(classes)} classes are named, and the network has {width} outputs")
    last = next((node.op_type for node in network.model.graph.node if network.output in node.output), "")
    if last == "Sigmoid":
        return "probability"
    if values.min() >= 0 and values.max() <= 1:
        raise DataInvalid("the only output may be a probability or a score; return the probabilities of both classes")
    return "score"


def _answers(values: NDArray[np.float64], head: str, classes: Sequence[str], targets: Sequence[str]) -> Answers:
    if head == "numbers":
        return estimates(values, targets)
    if head in ("probability", "score"):
        second = values if head == "probability" else expit(values)
        values = np.hstack([1 - second, second])
    shares = softmax(values, axis=1) if head == "scores" else values
    return probabilities(shares, [str(number) for number in range(shares.shape[1])], classes=classes)


def _graph(network: _Network, rows: Rows, answers: Answers, head: str) -> bytes:
    graph = OnnxGraph()
    (source,) = (each for each in network.model.graph.input if each.name == network.input)
    cast = graph.add("Cast", [INPUT_NAME], to=source.type.tensor_type.elem_type)
    (value,) = graph.include(network.model, {network.input: cast}, [network.output])
    value = graph.add("Cast", [value], to=TensorProto.DOUBLE)
    width = answers.values.shape[1] if head not in ("probability", "score") else 1
    value = graph.add("Reshape", [value, graph.constant(np.array([-1, width], np.int64))])
    if head == "scores":
        value = graph.add("Softmax", [value], axis=1)
    elif head in ("probability", "score"):
        second = graph.add("Sigmoid", [value]) if head == "score" else value
        first = graph.add("Sub", [graph.constant(np.array([[1.0]])), second])
        value = graph.add("Concat", [first, second], axis=1)
    graph.add("Cast", [value], to=TensorProto.FLOAT if answers.is_probability else TensorProto.DOUBLE, name=OUTPUT_NAME)
    return graph.encode(
        name="network",
        columns=rows.encoded.shape[1],
        outputs=answers.values.shape[1],
        takes=np.float64,
        gives=np.float32 if answers.is_probability else np.float64,
    )


def _checked_input(network: onnx.ModelProto, name: str, columns: int) -> onnx.ValueInfoProto:
    """Return the input of rows. Raises NotConvertible for another number or form of inputs."""
    constants = {each.name for each in network.graph.initializer}
    inputs: list[onnx.ValueInfoProto] = [each for each in network.graph.input if each.name not in constants]
    if len(inputs) != 1:
        raise not_convertible(f"'{name}' has {len(inputs)} inputs, not one of rows (N, F)")
    tensor = inputs[0].type.tensor_type
    sides = tensor.shape.dim
    if tensor.elem_type not in _FLOATS or (tensor.HasField("shape") and len(sides) != 2):
        raise not_convertible(f"the input of '{name}' is not float32 or float64 (N, F)")
    if len(sides) == 2 and sides[0].HasField("dim_value"):
        raise not_convertible(
            f"'{name}' takes {sides[0].dim_value} rows only", instead="export it for any number of rows"
        )
    if len(sides) == 2 and sides[1].HasField("dim_value") and sides[1].dim_value != columns:
        raise DataInvalid(f"'{name}' takes {sides[1].dim_value} columns, and X has {columns}")
    return inputs[0]


def _output_of(network: onnx.ModelProto, name: str) -> str:
    """Return the output of numbers. Raises NotConvertible unless there is exactly one."""
    tensors = [each for each in network.graph.output if each.type.WhichOneof("value") == "tensor_type"]
    numbers: list[str] = [each.name for each in tensors if each.type.tensor_type.elem_type in _FLOATS]
    shares: list[str] = [each for each in numbers if "prob" in each.lower()]
    if len(shares or numbers) != 1:
        found = ", ".join(each.name for each in network.graph.output)
        instead = "export one tensor of probabilities or numbers (skl2onnx: zipmap=False)"
        raise not_convertible(f"the outputs of '{name}' ({found}) are not one tensor of numbers", instead=instead)
    return (shares or numbers)[0]

"""Train a model of one table: `python -m training.tabular`, by default of German credit risk.

The input is a CSV or parquet file with one column to predict, classes or numbers. The model is chosen by
cross-validation, calibrated, evaluated on held-out rows, and saved as one ONNX graph with its card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.card import CalibrationBin, Card, Column, Metrics, Parity, Scalar
from models.errors import GateNotMet, ParityNotMet
from models.onnx_session import open_session, run_session
from models.store.artifacts import Artifact
from models.tabular.model import MODEL_FILE
from training.calibration import calibration, calibration_scores
from training.class_metrics import by_class
from training.promotion import saving_version
from training.report import console, library_versions, print_summary, step, write_report
from training.tabular.candidates import candidates
from training.tabular.choice import Choice, choose
from training.tabular.columns import ColumnRules, Inputs, read_inputs
from training.tabular.datasets import Table
from training.tabular.evaluation import importance, scores, slice_scores
from training.tabular.leaks import leaks
from training.tabular.onnx_graph import to_onnx
from training.tabular.params import Params, check, read
from training.tabular.predictor import TablePredictor, fit
from training.tabular.profile import table_profile
from training.tabular.recipe import RECIPE
from training.tabular.target import Target, read_target, split

MAX_DIFFERENCE = 1e-4
PREDICTION = "prediction"

_GERMAN_TARGET = "risk"
_GERMAN_GATE = 0.70
_PARITY_ROWS = 8_192
_ROWS_PER_THREAD = 20_000


@dataclass(frozen=True, slots=True)
class _Result:
    """A fitted pipeline and its evaluation."""

    choice: Choice
    fitted: TablePredictor
    metrics: dict[str, float]
    slices: dict[str, Metrics]
    importance: dict[str, float]
    calibration: tuple[CalibrationBin, ...]
    rows_trained: int
    rows_tested: int


def main(params: Params) -> None:
    """Train, save and print a summary."""
    artifact = train(params)
    print_summary(artifact.card, tag=artifact.tag, folder=artifact.folder)


def train(params: Params, *, store: Path | None = None) -> Artifact:
    """Train on the table that `params` names and save the artifact into `store`.

    Raises DataInvalid, GateNotMet or ParityNotMet; then nothing is saved.
    """
    check(params)
    with step("read " + (params.data.name if params.data else "German credit risk")):
        table, target, inputs = _read(params)
    warnings = leaks(inputs, target, seed=params.seed)
    _print_data(table, target, inputs, warnings)
    # On a small table threads wait for each other longer than they compute.
    with threadpool_limits(1 if len(inputs.rows) < _ROWS_PER_THREAD else None):
        result = _fit(params, target, inputs)
        _check_gate(params, result)
        with step("write as ONNX and compare on the whole table"):
            model = to_onnx(result.fitted)
            answers, parity = _compare(model, result.fitted, inputs.rows, target)
    card = _card(params, table, target, inputs, result, answers, parity, warnings)
    with step("save"), saving_version(card, is_forced=params.promote, store=store) as saved:
        (saved.folder / MODEL_FILE).write_bytes(model)
        write_report(card, saved.folder)
    return saved.artifact


def _read(params: Params) -> tuple[Table, Target, Inputs]:
    table = read(params)
    target = read_target(table.frame, params.target or _GERMAN_TARGET, params.task)
    frame = table.frame[target.is_used].drop(columns=target.name).reset_index(drop=True)
    rules = ColumnRules(
        drop=params.drop,
        max_categories=params.max_categories,
        accept_unknown=params.unknown_categories == "accept",
        decimal=params.decimal,
    )
    return table, target, read_inputs(frame, rules, descriptions=table.descriptions)


def _print_data(table: Table, target: Target, inputs: Inputs, warnings: Sequence[str]) -> None:
    kind = f"{len(target.classes)} classes" if target.is_classification else "a number"
    console.print(f"  {table.source.rows:,} rows, {len(inputs.columns)} inputs, predicting '{target.name}': {kind}")
    for note in (*table.notes, *target.notes):
        console.print(f"  {note}", markup=False, soft_wrap=True)
    for name, note in inputs.notes:
        console.print(f"  column '{name}': {note}", markup=False, soft_wrap=True)
    for name, reason in inputs.dropped:
        console.print(f"  column '{name}' is not used: {reason}", markup=False, soft_wrap=True)
    for warning in warnings:
        console.print(f"  warning: {warning}", markup=False, soft_wrap=True)


def _fit(params: Params, target: Target, inputs: Inputs) -> _Result:
    train_rows, test_rows = split(target, test_share=params.test_share, seed=params.seed)
    rows, values = inputs.rows[train_rows], target.values[train_rows]
    with step(f"choose the model by {params.folds}-fold cross-validation on {len(train_rows):,} rows"):
        compared = candidates(inputs.columns, classes=len(target.classes), rows=len(rows), seed=params.seed)
        choice = choose(compared, rows, values, folds=params.folds, seed=params.seed)
        _print_choice(choice)
    with step("fit"):
        fitted = fit(choice, rows, values, classes=len(target.classes))
    with step(f"measure on {len(test_rows):,} held-out rows"):
        return _evaluate(params, target, inputs, choice, fitted, (train_rows, test_rows))


def _evaluate(
    params: Params,
    target: Target,
    inputs: Inputs,
    choice: Choice,
    fitted: TablePredictor,
    split_rows: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> _Result:
    train_rows, test_rows = split_rows
    rows, values = inputs.rows[test_rows], target.values[test_rows]
    answers = fitted.predict(rows)
    metrics = scores(values, answers)
    drops = importance(fitted.predict, inputs.columns, rows, values, seed=params.seed, gains=fitted.column_gains())
    slices = slice_scores(inputs.columns, rows, values, answers, importance=drops)
    if target.is_classification:
        before = calibration_scores(values, fitted.predict(rows, is_calibrated=False))
        metrics |= {f"{name}_uncalibrated": score for name, score in before.items()}
        slices |= by_class(answers, values.astype(np.int64), target.classes)
    return _Result(
        choice=choice,
        fitted=fitted,
        metrics=metrics,
        slices=slices,
        importance=drops,
        calibration=calibration(values, answers) if target.is_classification else (),
        rows_trained=len(train_rows),
        rows_tested=len(test_rows),
    )


def _print_choice(choice: Choice) -> None:
    for name, (mean, deviation) in choice.scores.items():
        mark = "*" if name == choice.name else " "
        console.print(f"  {mark} {name}: {choice.metric} {mean:.4f} ± {deviation:.4f}", soft_wrap=True)
    calibrated = "" if choice.calibration is None else ", calibrated"
    console.print(f"  chosen: {choice.name}{calibrated}", soft_wrap=True)


def _check_gate(params: Params, result: _Result) -> None:
    is_default = params.data is None and params.target in (None, _GERMAN_TARGET)
    gate = _GERMAN_GATE if params.min_metric is None and is_default else params.min_metric
    name, reached = next(iter(result.metrics.items()))
    if gate is not None and not reached >= gate:
        raise GateNotMet(f"{name} {reached:.4f} on held-out rows is below {gate:g}: not saved")


def _compare(
    model: bytes, fitted: TablePredictor, rows: NDArray[np.floating], target: Target
) -> tuple[NDArray[np.floating], Parity]:
    """Return the answers of ONNX Runtime to all rows, and their parity with the trained model.

    Raises ParityNotMet above MAX_DIFFERENCE, which is relative to the target's standard deviation for numbers.
    """
    session = open_session(model)
    chunks = [rows[start : start + _PARITY_ROWS] for start in range(0, len(rows), _PARITY_ROWS)]
    served = np.concatenate([run_session(session, chunk) for chunk in chunks])
    expected = np.concatenate([fitted.predict(chunk) for chunk in chunks])
    difference = float(np.abs(served - expected).max())
    scale = 1.0 if target.is_classification else float(target.values.std())
    if not difference <= MAX_DIFFERENCE * scale:
        raise ParityNotMet(
            f"ONNX Runtime and the trained model differ by {difference:.2e}, more than {MAX_DIFFERENCE * scale:.2e}"
        )
    agreement = float((served.argmax(axis=1) == expected.argmax(axis=1)).mean()) if target.is_classification else None
    versions = library_versions("scikit-learn", "lightgbm", "onnxruntime")
    return served, Parity(
        reference=f"scikit-learn {versions['scikit-learn']}, lightgbm {versions['lightgbm']}",
        runtime=f"onnxruntime {versions['onnxruntime']}",
        rows=len(rows),
        max_difference=difference,
        top1_agreement=agreement,
    )


def _card(
    params: Params,
    table: Table,
    target: Target,
    inputs: Inputs,
    result: _Result,
    answers: NDArray[np.floating],
    parity: Parity,
    warnings: Sequence[str],
) -> Card:
    outputs = _outputs(target)
    kind = f"one of {', '.join(target.classes[:10])}" if target.is_classification else "a number"
    return Card(
        name=params.name,
        task="tabular-classification" if target.is_classification else "tabular-regression",
        algorithm=result.choice.name,
        created=datetime.now(UTC),
        inputs=inputs.columns,
        outputs=outputs,
        metrics=result.metrics,
        data=table.source,
        classes=target.classes,
        description=f"Predicts '{target.name}' ({kind}) from {len(inputs.columns)} columns of {table.source.name}; "
        f"metrics are of {result.rows_tested:,} held-out rows.",
        slices=result.slices,
        params=_parameters(params, table, target, inputs, result, warnings),
        libraries=library_versions("scikit-learn", "lightgbm", "onnx", "onnxruntime", "numpy", "pandas"),
        parity=parity,
        profile=table_profile(inputs.columns, inputs.rows, outputs, answers),
        importance=result.importance,
        calibration=result.calibration,
    )


def _outputs(target: Target) -> tuple[Column, ...]:
    if not target.is_classification:
        low, high = float(target.values.min()), float(target.values.max())
        return (Column(PREDICTION, "number", description=f"estimate of '{target.name}'", minimum=low, maximum=high),)
    likeliest = Column(PREDICTION, "category", description=f"likeliest '{target.name}'", categories=target.classes)
    shares = [
        Column(f"probability of {name}", "number", description="calibrated", minimum=0.0, maximum=1.0)
        for name in target.classes
    ]
    return (likeliest, *shares)


def _parameters(
    params: Params, table: Table, target: Target, inputs: Inputs, result: _Result, warnings: Sequence[str]
) -> dict[str, Scalar]:
    parameters: dict[str, Scalar] = {
        name: value if isinstance(value, str | int | float | None) else ", ".join(map(str, value))
        for name, value in asdict(params).items()
        if name not in ("data", "name", "promote")
    }
    parameters |= {**RECIPE.card_parameters(), "target": target.name, "target_type": target.label_type}
    parameters |= {"rows_trained": result.rows_trained, "rows_tested": result.rows_tested}
    parameters |= {"chosen_by": result.choice.metric, "chosen_by_margin": result.choice.margin}
    if (calibration := result.choice.calibration) is not None:
        parameters |= {"calibration_slope": calibration.slope, "calibration_offset": calibration.offset}
    for name, (mean, deviation) in result.choice.scores.items():
        parameters[f"cross-validation of {name}"] = f"{mean:.4f} ± {deviation:.4f}"
    parameters |= {f"column {name} left out": reason for name, reason in inputs.dropped}
    parameters |= {f"column {name}": note for name, note in inputs.notes}
    parameters |= {f"note {number}": note for number, note in enumerate((*table.notes, *target.notes), 1)}
    parameters |= {f"warning {number}": warning for number, warning in enumerate(warnings, 1)}
    return parameters

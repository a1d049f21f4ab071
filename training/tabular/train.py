"""Train a model of one table: `python -m training.tabular`, by default of German credit risk.

Any CSV or parquet file with one column to predict: classes or numbers, told apart by what the column holds. The model
is chosen by cross-validation, calibrated, measured on rows held out, and saved as one ONNX graph with its card.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from models.card import CalibrationBin, Card, Column, Metrics, Parity, Scalar
from models.errors import GateNotMet, ParityNotMet
from models.onnx_session import open_session, run_session
from models.store.artifacts import Artifact, find, saving
from models.tabular.model import MODEL_FILE
from training.class_metrics import by_class
from training.histograms import table_profile
from training.recipes import noted
from training.report import console, library_versions, print_summary, step, write_report
from training.tabular.columns import ColumnRules, Inputs, read_inputs
from training.tabular.datasets import Table
from training.tabular.evaluation import calibration, calibration_scores, importance, scores, slice_scores
from training.tabular.onnx_graph import to_onnx
from training.tabular.params import Params, check, read
from training.tabular.pipelines import Choice, calibrated, candidates, choose, predict
from training.tabular.target import Target, read_target

MAX_DIFFERENCE = 1e-4
PREDICTION = "prediction"

_GERMAN_TARGET = "risk"
_GERMAN_GATE = 0.70
_PARITY_ROWS = 8_192
_ROWS_PER_THREAD = 20_000


@dataclass(frozen=True, slots=True)
class _Measured:
    """A fitted pipeline and what was found out about it."""

    choice: Choice
    fitted: Pipeline
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
    _print_data(table, target, inputs)
    # Threads wait for one another longer than a small table takes, most of all where cores are shared.
    with threadpool_limits(1 if len(inputs.rows) < _ROWS_PER_THREAD else None):
        measured = _fit(params, target, inputs)
        _check_gate(params, measured)
        with step("write as ONNX and compare with scikit-learn on the whole table"):
            model = to_onnx(measured.fitted)
            answers, parity = _compare(model, measured.fitted, inputs.rows, target)
    card = _card(params, table, target, inputs, measured, answers, parity)
    with step("save"), saving(card, store=store) as folder:
        (folder / MODEL_FILE).write_bytes(model)
        write_report(card, folder)
    return find(card.name, store=store)


def _read(params: Params) -> tuple[Table, Target, Inputs]:
    table = read(params)
    target = read_target(table.frame, params.target or _GERMAN_TARGET, params.task)
    frame = table.frame[target.kept].drop(columns=target.name).reset_index(drop=True)
    rules = ColumnRules(
        drop=params.drop, max_categories=params.max_categories, accept_unknown=params.unknown_categories == "accept"
    )
    return table, target, read_inputs(frame, rules, descriptions=table.descriptions)


def _print_data(table: Table, target: Target, inputs: Inputs) -> None:
    what = f"{len(target.classes)} classes" if target.is_classification else "a number"
    console.print(f"  {table.source.rows:,} rows, {len(inputs.columns)} inputs, predicting '{target.name}': {what}")
    for note in target.notes:
        console.print(f"  {note}", markup=False, soft_wrap=True)
    for name, reason in inputs.dropped:
        console.print(f"  column '{name}' is not used: {reason}", markup=False, soft_wrap=True)


def _fit(params: Params, target: Target, inputs: Inputs) -> _Measured:
    stratify = target.values if target.is_classification else None
    seen, held_out = train_test_split(
        np.arange(len(target.values)), test_size=params.test_share, random_state=params.seed, stratify=stratify
    )
    rows, values = inputs.rows[seen], target.values[seen]
    with step(f"choose the model by {params.folds}-fold cross-validation on {len(seen):,} rows"):
        found = candidates(inputs.columns, classes=len(target.classes), seed=params.seed)
        choice = choose(found, rows, values, folds=params.folds, seed=params.seed)
        _print_choice(choice)
    with step("fit" + (" and calibrate" if target.is_classification else "")):
        plain = clone(choice.best.pipeline).fit(rows.astype(np.float64), values)
        fitted = plain
        if target.is_classification:
            fitted = calibrated(choice.best.pipeline, classes=len(target.classes)).fit(rows.astype(np.float64), values)
    with step(f"measure on {len(held_out):,} rows held out"):
        return _measure(params, target, inputs, choice, (plain, fitted), (seen, held_out))


def _measure(
    params: Params,
    target: Target,
    inputs: Inputs,
    choice: Choice,
    pipelines: tuple[Pipeline, Pipeline],
    split: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> _Measured:
    plain, fitted = pipelines
    seen, held_out = split
    rows, values = inputs.rows[held_out], target.values[held_out]
    answers = predict(fitted, rows)
    metrics = scores(values, answers)
    slices = slice_scores(inputs.columns, rows, values, answers)
    if target.is_classification:
        before = calibration_scores(values, predict(plain, rows))
        metrics |= {f"{name}_uncalibrated": score for name, score in before.items()}
        slices |= by_class(answers, values.astype(np.int64), target.classes)
    return _Measured(
        choice=choice,
        fitted=fitted,
        metrics=metrics,
        slices=slices,
        importance=importance(lambda given: predict(fitted, given), inputs.columns, rows, values, seed=params.seed),
        calibration=calibration(values, answers) if target.is_classification else (),
        rows_trained=len(seen),
        rows_tested=len(held_out),
    )


def _print_choice(choice: Choice) -> None:
    for name, (mean, deviation) in choice.scores.items():
        mark = "*" if name == choice.best.name else " "
        console.print(f"  {mark} {name}: {choice.metric} {mean:.4f} ± {deviation:.4f}")
    console.print(
        f"  chosen: {choice.best.name}, {choice.margin:.4f} better than the best of another family", soft_wrap=True
    )


def _check_gate(params: Params, measured: _Measured) -> None:
    is_default = params.data is None and params.target in (None, _GERMAN_TARGET)
    gate = _GERMAN_GATE if params.min_metric is None and is_default else params.min_metric
    name, reached = next(iter(measured.metrics.items()))
    if gate is not None and not reached >= gate:
        raise GateNotMet(f"{name} {reached:.4f} on held-out rows is below {gate:g}: nothing was saved")


def _compare(
    model: bytes, fitted: Pipeline, rows: NDArray[np.float32], target: Target
) -> tuple[NDArray[np.float32], Parity]:
    """Answers of both runtimes to all rows. Raises ParityNotMet above MAX_DIFFERENCE, for numbers relative to the
    target's standard deviation."""
    session = open_session(model)
    chunks = [rows[start : start + _PARITY_ROWS] for start in range(0, len(rows), _PARITY_ROWS)]
    served = np.concatenate([run_session(session, chunk) for chunk in chunks])
    wanted = np.concatenate([predict(fitted, chunk) for chunk in chunks])
    difference = float(np.abs(served - wanted).max())
    scale = 1.0 if target.is_classification else float(target.values.std())
    if not difference <= MAX_DIFFERENCE * scale:
        raise ParityNotMet(
            f"ONNX Runtime and scikit-learn differ by {difference:.2e}, more than {MAX_DIFFERENCE * scale:.2e}"
        )
    agreement = float((served.argmax(axis=1) == wanted.argmax(axis=1)).mean()) if target.is_classification else None
    versions = library_versions("scikit-learn", "onnxruntime")
    return served, Parity(
        reference=f"scikit-learn {versions['scikit-learn']}",
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
    measured: _Measured,
    answers: NDArray[np.float32],
    parity: Parity,
) -> Card:
    outputs = _outputs(target)
    what = f"one of {', '.join(target.classes[:10])}" if target.is_classification else "a number"
    return Card(
        name=params.name,
        task="tabular-classification" if target.is_classification else "tabular-regression",
        algorithm=measured.choice.best.name,
        created=datetime.now(UTC),
        inputs=inputs.columns,
        outputs=outputs,
        metrics=measured.metrics,
        data=table.source,
        classes=target.classes,
        description=f"Predicts '{target.name}' ({what}) from {len(inputs.columns)} columns of {table.source.name}; "
        f"metrics are of {measured.rows_tested:,} rows held out.",
        slices=measured.slices,
        params=_noted(params, target, inputs, measured),
        libraries=library_versions("scikit-learn", "onnx", "onnxruntime", "numpy", "pandas"),
        parity=parity,
        profile=table_profile(inputs.columns, inputs.rows, outputs, answers),
        importance=measured.importance,
        calibration=measured.calibration,
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


def _noted(params: Params, target: Target, inputs: Inputs, measured: _Measured) -> dict[str, Scalar]:
    given: dict[str, Scalar] = {
        name: value if isinstance(value, str | int | float | None) else ", ".join(map(str, value))
        for name, value in asdict(params).items()
        if name not in ("data", "name")
    }
    given |= {**noted("tabular"), "target": target.name, "target_type": target.label_type}
    given |= {"rows_trained": measured.rows_trained, "rows_tested": measured.rows_tested}
    given |= {"chosen_by": measured.choice.metric, "chosen_by_margin": measured.choice.margin}
    for name, (mean, deviation) in measured.choice.scores.items():
        given[f"cross-validation of {name}"] = f"{mean:.4f} ± {deviation:.4f}"
    given |= {f"column {name} left out": reason for name, reason in inputs.dropped}
    given |= {f"note {number}": note for number, note in enumerate(target.notes, 1)}
    return given

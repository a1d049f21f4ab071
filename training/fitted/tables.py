"""Saving of a model of a table: its graph is compared with the model on the given rows, and written with its card."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import Card, DataSource, Parity
from models.errors import GateNotMet, ParityNotMet
from models.onnx_session import INPUT_NAME, OUTPUT_NAME, open_session
from models.store.artifacts import Artifact
from models.tabular import answers
from models.tabular.model import MODEL_FILE, TabularModel
from training.fitted.answers import Answers
from training.fitted.options import SaveOptions
from training.fitted.refusal import WAY_OUT
from training.fitted.rows import Rows
from training.fitted.targets import measure, reliability
from training.promotion import saving_version
from training.report import library_versions, print_summary, write_report
from training.tabular.profile import table_profile

MAX_DIFFERENCE = 1e-4
_CHUNK_ROWS = 8_192


@dataclass(frozen=True, slots=True)
class Agreement:
    """The largest difference of ONNX Runtime's answers from the model's on `rows` rows, relative to their spread.

    `top1` is the share of rows with the same likeliest class, nearest cluster or judgement; None for estimates.
    """

    difference: float
    rows: int
    top1: float | None = None

    @property
    def is_close(self) -> bool:
        """Return whether the difference is small enough to be served."""
        return self.difference <= MAX_DIFFERENCE

    def with_more(self, other: Agreement) -> Agreement:
        """Return the agreement on the rows of both."""
        rows = self.rows + other.rows
        same = (self.top1 or 0.0) * self.rows + (other.top1 or 0.0) * other.rows
        difference = max(self.difference, other.difference)
        return Agreement(difference, rows, None if self.top1 is None else same / rows)


@dataclass(frozen=True, slots=True)
class ConvertedTable:
    """A model of a table as a graph, the rows and answers that it was compared on, and what it was made of."""

    graph: bytes
    rows: Rows
    answers: Answers
    agreement: Agreement
    algorithm: str
    libraries: tuple[str, ...]


def compare(graph: bytes, rows: NDArray[np.float64], given: Answers) -> Agreement:
    """Return how far ONNX Runtime's answers to `rows` agree with the given ones. Raises ONNX Runtime's errors.

    The first row is answered alone too. An answer of another shape, or that is not finite, is infinitely far.
    """
    served = run_quietly(graph, rows)
    if served.shape != given.values.shape or not np.isfinite(served).all():
        return Agreement(float("inf"), len(rows))
    alone = run_quietly(graph, rows[:1])
    scale = np.ones(served.shape[1]) if given.is_probability else _spread(given.values)
    apart = np.concatenate([np.abs(served - given.values), np.abs(alone - given.values[:1])]) / scale
    return Agreement(float(apart.max()), len(rows), _top1(served, given))


def run_quietly(graph: bytes, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the answers of a graph, float64. What it does not accept is not logged: the caller reports it."""
    session = open_session(graph)
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    chunks = [rows[start : start + _CHUNK_ROWS] for start in range(0, len(rows), _CHUNK_ROWS)]
    answered = [session.run([OUTPUT_NAME], {INPUT_NAME: chunk}, options)[0] for chunk in chunks]
    return np.concatenate(answered).astype(np.float64)


def _top1(served: NDArray[np.float64], given: Answers) -> float | None:
    choose = {
        answers.CLASSIFICATION: lambda numbers: numbers.argmax(axis=1),
        answers.CLUSTERING: lambda numbers: numbers.argmin(axis=1),
        answers.OUTLIERS: lambda numbers: numbers[:, 0] < 0,
    }.get(given.task)
    return None if choose is None else float((choose(served) == choose(given.values)).mean())


def save_table(table: ConvertedTable, truth: NDArray[Any] | None, options: SaveOptions) -> Artifact:
    """Save the model. Raises ParityNotMet, GateNotMet and DataInvalid; then nothing is saved."""
    if not table.agreement.is_close:
        difference = f"{table.agreement.difference:.1e} on rows like the given ones, more than {MAX_DIFFERENCE:.0e}"
        raise ParityNotMet(f"ONNX Runtime and {table.algorithm} differ by {difference}: not saved; {WAY_OUT}")
    card = _card(table, truth, options)
    check_gate(card, options)
    with saving_version(card, is_forced=options.promote, store=options.store) as saved:
        (saved.folder / MODEL_FILE).write_bytes(table.graph)
        write_report(card, saved.folder)
        # It must load and answer its own example before it becomes visible.
        TabularModel.load(Artifact(card.name, saved.folder.name, saved.folder, card))
    artifact = saved.artifact
    print_summary(artifact.card, tag=artifact.tag, folder=artifact.folder)
    return artifact


def check_gate(card: Card, options: SaveOptions) -> None:
    """Raise GateNotMet where the main metric is missing, or below `min_metric`."""
    if options.min_metric is None:
        return
    name, reached = next(iter(card.metrics.items()), ("", float("nan")))
    if not name:
        raise GateNotMet("min_metric needs y, which the model is measured on: not saved")
    if not reached >= options.min_metric:
        raise GateNotMet(f"{name} {reached:.4f} on the given rows is below {options.min_metric:g}: not saved")


def fingerprint(*parts: bytes) -> str:
    """Return one SHA-256 of the data."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def data_source(rows: Rows, truth: NDArray[Any] | None) -> DataSource:
    """Return the origin of the given rows: the same rows have the same SHA-256."""
    schema = repr([(column.name, column.kind, column.categories) for column in rows.columns]).encode()
    values = b"" if truth is None else repr(truth.tolist()).encode()
    sha256 = fingerprint(schema, np.ascontiguousarray(rows.encoded).tobytes(), values)
    return DataSource(name="rows given to save()", sha256=sha256, rows=len(rows))


def _card(table: ConvertedTable, truth: NDArray[Any] | None, options: SaveOptions) -> Card:
    given, rows = table.answers, table.rows
    metrics, slices = measure(given, truth)
    versions = library_versions(*table.libraries)
    runtime = library_versions("onnxruntime")
    measured = f"metrics are of the {len(rows):,} rows given to save()" if metrics else "not measured"
    return Card(
        name=options.name,
        task=given.task,
        algorithm=table.algorithm,
        created=datetime.now(UTC),
        inputs=rows.columns,
        outputs=given.outputs,
        metrics=metrics,
        data=data_source(rows, truth),
        classes=given.classes,
        description=options.description or f"{table.algorithm} over {len(rows.columns)} columns; {measured}.",
        slices=slices,
        params={"saved_by": "save", "min_metric": options.min_metric},
        libraries=versions | runtime | library_versions("onnx", "numpy"),
        parity=Parity(
            reference=", ".join(f"{name} {version}" for name, version in versions.items()) or table.algorithm,
            runtime=f"onnxruntime {runtime['onnxruntime']}",
            rows=table.agreement.rows,
            max_difference=table.agreement.difference,
            top1_agreement=table.agreement.top1,
        ),
        profile=table_profile(rows.columns, rows.encoded, given.outputs, given.values),
        calibration=reliability(given, truth),
    )


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what differences are relative to: the standard deviation of each number, or its size where it is 0."""
    deviation = values.std(axis=0)
    size = np.maximum(1.0, np.abs(values).max(axis=0))
    return np.asarray(np.where(deviation > 0, deviation, size), np.float64)

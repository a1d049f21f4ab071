"""Tests of ONNX graphs: they return what the trained model returns, for every kind of model, column and value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.card import Column
from models.onnx_session import open_session, run_session
from models.tabular.row_encoder import MISSING, NONE_OF_THESE, RowEncoder
from training.tabular.boosting import Values
from training.tabular.calibration import Calibration
from training.tabular.candidates import candidates
from training.tabular.choice import standardized
from training.tabular.onnx_graph import to_onnx
from training.tabular.predictor import TablePredictor

pytestmark = pytest.mark.slow

MANY = tuple(f"c{number}" for number in range(150))
COLUMNS = (
    Column("a", "number", nullable=True),
    Column("b", "number"),
    Column("c", "integer"),
    Column("d", "category", categories=tuple("wxyz"), nullable=True),
    Column("e", "category", categories=tuple("uvwxyz"), accepts_unknown=True),
    Column("f", "boolean", nullable=True),
    Column("g", "category", categories=MANY, accepts_unknown=True),
    Column("h", "date", nullable=True),
    Column("i", "text", nullable=True),
)
NAMES = [candidate.name for candidate in candidates(COLUMNS, classes=2, rows=600, seed=0)]
LINEAR, BOOSTING = 1, 3
KINDS = {"two classes": 2, "five classes": 5, "a number": 0}
WORDS = ["late", "early", "cancelled", "refund", "broken", "fast", "slow", "good", "bad", "again", "never"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: in small fits several threads wait for each other longer than they compute."""
    with threadpool_limits(1):
        yield


def make_cells(count: int, *, seed: int) -> list[list[object]]:
    """Return the values of COLUMNS, some of them missing or unknown."""
    random = np.random.default_rng(seed)
    cells: list[list[object]] = [
        random.normal(size=count).tolist(),
        random.normal(1.6e18, 1e16, size=count).tolist(),  # such as times in nanoseconds
        random.integers(-50, 50, count).tolist(),
        random.choice(list("wxyz"), count).tolist(),
        random.choice([*"uvwxyz", "other"], count).tolist(),
        random.choice([True, False], count).tolist(),
        random.choice([*MANY, "other"], count).tolist(),
        [f"20{year:02}-0{month}-1{day}" for year, month, day in random.integers(1, 9, (count, 3)).tolist()],
        [" ".join(random.choice(WORDS, 5)) for _ in range(count)],
    ]
    for column, values in zip(COLUMNS, cells, strict=True):
        if column.nullable:
            for row in np.flatnonzero(random.random(count) < 0.1).tolist():
                values[row] = None
    return cells


def make_rows(count: int, *, seed: int, columns: Sequence[int] = range(len(COLUMNS))) -> NDArray[np.float64]:
    cells = make_cells(count, seed=seed)
    encoder = RowEncoder.for_columns([COLUMNS[index] for index in columns])
    return encoder.encode_columns([cells[index] for index in columns])


def make_values(count: int, classes: int, *, seed: int) -> Values:
    cells = make_cells(count, seed=seed)
    noise = np.random.default_rng(9).normal(0, 0.5, count)
    score = np.array([float(value or 0) + (d == "y") for value, d in zip(cells[0], cells[3], strict=True)])  # type: ignore[arg-type]
    score += np.array([("refund" in str(text)) - (g in MANY[:40]) for g, text in zip(cells[6], cells[8], strict=True)])
    score += np.array([str(day or "")[2:4] > "04" for day in cells[7]]) + noise
    if not classes:
        return np.asarray(score * 1e5 + 3e9, dtype=np.float64)
    return np.asarray(np.searchsorted(np.quantile(score, np.arange(1, classes) / classes), score), dtype=np.int64)


def fitted_part(position: int, rows: NDArray[np.float64], values: Values, columns: Sequence[Column] = COLUMNS):  # type: ignore[no-untyped-def]
    classes = 0 if values.dtype.kind == "f" else int(values.max()) + 1
    candidate = candidates(columns, classes=classes, rows=len(rows), seed=0)[position]
    return candidate.make(40).fit(rows, standardized(values)[0])


def check(predictor: TablePredictor, rows: NDArray[np.float64], *, scale: float = 1.0) -> NDArray[np.float64]:
    """Check that the graph of `predictor` answers as it does, and return the answers."""
    expected, served = predictor.predict(rows), run_session(open_session(to_onnx(predictor)), rows)
    assert served.dtype == (np.float32 if predictor.classes else np.float64)
    assert served.shape == (len(rows), max(predictor.classes, 1))
    assert np.abs(served - expected).max() < 1e-5 * scale
    return expected


@pytest.mark.parametrize("position", range(len(NAMES)), ids=NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_answers_what_the_model_answers(kind: str, position: int) -> None:
    classes = KINDS[kind]
    rows, values = make_rows(600, seed=1), make_values(600, classes, seed=1)
    _, mean, scale = standardized(values)
    part = fitted_part(position, rows, values)
    others = np.concatenate([rows, make_rows(1_000, seed=2)])
    expected = check(TablePredictor(((1.0, part),), classes, None, mean, scale), others, scale=scale)
    assert expected.std(axis=0).min() > 0.01 * scale


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_of_a_calibrated_mean_of_two_models(kind: str) -> None:
    classes = KINDS[kind]
    rows, values = make_rows(600, seed=1), make_values(600, classes, seed=1)
    _, mean, scale = standardized(values)
    parts = ((0.3, fitted_part(LINEAR, rows, values)), (0.7, fitted_part(BOOSTING, rows, values)))
    calibration = Calibration(0.8, 0.4 if classes == 2 else 0.0) if classes else None
    check(TablePredictor(parts, classes, calibration, mean, scale), rows, scale=scale)


def test_neighbouring_integers_over_two_to_the_24_stay_apart() -> None:
    low = 4_006_381_333_931.0
    rows = np.array([[low], [low + 1]] * 100)
    values = (rows[:, 0] > low).astype(np.int64)
    part = fitted_part(BOOSTING, rows, values, columns=(Column("ean", "integer"),))
    served = run_session(open_session(to_onnx(TablePredictor(((1.0, part),), 2))), rows[:2])
    assert served[0, 1] < 0.2 < 0.8 < served[1, 1]


@pytest.mark.parametrize(
    "used",
    [(1,), (3,), (3, 4), (0, 5), (6,), (7,), (8,)],
    ids=["number", "category", "categories", "missing", "many categories", "date", "text"],
)
@pytest.mark.parametrize("position", [LINEAR, BOOSTING], ids=["linear", "boosting"])
def test_a_table_with_one_kind_of_column_only(used: tuple[int, ...], position: int) -> None:
    rows, values = make_rows(600, seed=3, columns=used), make_values(600, 2, seed=3)
    part = fitted_part(position, rows, values, columns=[COLUMNS[index] for index in used])
    check(TablePredictor(((1.0, part),), 2), rows)


@pytest.mark.parametrize("position", [LINEAR, BOOSTING], ids=["linear", "boosting"])
def test_categories_that_no_training_row_has_are_answered(position: int) -> None:
    rows, values = make_rows(600, seed=4), make_values(600, 2, seed=4)
    kept = (rows[:, 3] != 2) & (rows[:, 4] != NONE_OF_THESE) & (rows[:, 3] != MISSING)
    part = fitted_part(position, rows[kept], values[kept])
    check(TablePredictor(((1.0, part),), 2), rows)

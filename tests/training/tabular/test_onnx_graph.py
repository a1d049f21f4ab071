"""Tests of ONNX graphs: they return what the pipeline returns, for every kind of pipeline and of value."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.card import Column
from models.onnx_session import open_session, run_session
from models.tabular.row_encoder import MISSING, NONE_OF_THESE
from training.tabular.onnx_graph import to_onnx
from training.tabular.pipelines import Values, calibrated, candidates, predict

pytestmark = pytest.mark.slow

COLUMNS = (
    Column("a", "number", nullable=True),
    Column("b", "number"),
    Column("c", "integer"),
    Column("d", "category", categories=tuple("wxyz"), nullable=True),
    Column("e", "category", categories=tuple("uvwxyz"), accepts_unknown=True),
    Column("f", "boolean", nullable=True),
)
NAMES = [candidate.name for candidate in candidates(COLUMNS, classes=2, seed=0)]
KINDS = {"two classes": 2, "five classes": 5, "a number": 0}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: in small fits several threads wait for each other longer than they compute."""
    with threadpool_limits(1):
        yield


def make_rows(count: int, *, seed: int) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    rows = np.stack(
        [
            random.normal(size=count),
            random.normal(1.6e9, 1e7, size=count),  # such as times in seconds: float32 holds few digits of them
            random.integers(-50, 50, count) / 2,
            random.integers(MISSING, 4, count),
            random.integers(0, 6, count),
            random.integers(0, 2, count),
        ],
        axis=1,
    ).astype(np.float32)
    rows[random.random(count) < 0.1, 0] = np.nan
    rows[random.random(count) < 0.1, 4] = NONE_OF_THESE
    rows[random.random(count) < 0.1, 5] = np.nan
    return rows


def make_values(rows: NDArray[np.float32], classes: int) -> Values:
    noise = np.random.default_rng(9).normal(0, 0.5, len(rows))
    score: NDArray[np.float64] = (
        np.nan_to_num(rows[:, 0]) + (rows[:, 3] == 2) - (rows[:, 4] == NONE_OF_THESE) + rows[:, 2] / 25 + noise
    )
    if not classes:
        return np.asarray(score * 1e5 + 3e5, dtype=np.float64)
    return np.asarray(np.searchsorted(np.quantile(score, np.arange(1, classes) / classes), score), dtype=np.int64)


@pytest.mark.parametrize("position", range(len(NAMES)), ids=NAMES)
@pytest.mark.parametrize(
    ("kind", "is_calibrated"),
    [(kind, is_calibrated) for kind in KINDS for is_calibrated in (False, True) if KINDS[kind] or not is_calibrated],
)
def test_the_graph_answers_what_the_pipeline_answers(kind: str, position: int, is_calibrated: bool) -> None:
    classes = KINDS[kind]
    rows = make_rows(600, seed=1)
    values = make_values(rows, classes)
    pipeline = candidates(COLUMNS, classes=classes, seed=0)[position].pipeline
    fitted = (calibrated(pipeline, classes=classes) if is_calibrated else pipeline).fit(rows.astype(float), values)
    session = open_session(to_onnx(fitted))
    others = np.concatenate([rows, make_rows(3_000, seed=2)])
    expected, served = predict(fitted, others), run_session(session, others)
    assert served.dtype == np.float32
    assert served.shape == (3_600, max(classes, 1))
    scale = 1.0 if classes else float(values.std())
    assert np.abs(served - expected).max() < 1e-5 * scale
    assert expected.std(axis=0).min() > 0.01 * scale


def test_a_value_at_a_threshold_falls_on_the_same_side() -> None:
    # The two neighbours in float32 leave their midpoint, the threshold, no float32 of its own.
    low = np.float32(16_777_217 / 3)
    high = np.nextafter(low, np.float32(np.inf))
    rows = np.array([[low], [high]] * 100, dtype=np.float32)
    values = (rows[:, 0] == high).astype(np.int64)
    boosting = candidates((Column("a", "number"),), classes=2, seed=0)[2].pipeline
    fitted = boosting.fit(rows.astype(float), values)
    served = run_session(open_session(to_onnx(fitted)), rows[:2])
    assert served[0, 1] < 0.1 < 0.9 < served[1, 1]


@pytest.mark.parametrize("used", [(1,), (3,), (3, 4), (0, 5)], ids=["number", "category", "categories", "missing"])
@pytest.mark.parametrize("position", [0, 2], ids=["linear", "boosting"])
def test_a_table_with_one_kind_of_column_only(used: tuple[int, ...], position: int) -> None:
    rows = make_rows(600, seed=3)
    values = make_values(rows, 2)
    rows = np.ascontiguousarray(rows[:, used])
    pipeline = candidates([COLUMNS[index] for index in used], classes=2, seed=0)[position].pipeline
    fitted = pipeline.fit(rows.astype(float), values)
    assert np.abs(run_session(open_session(to_onnx(fitted)), rows) - predict(fitted, rows)).max() < 1e-5


def test_an_unknown_category_is_answered_as_one_that_is_none_of_the_known() -> None:
    rows = make_rows(600, seed=4)
    fitted = candidates(COLUMNS, classes=2, seed=0)[1].pipeline.fit(rows.astype(float), make_values(rows, 2))
    session = open_session(to_onnx(fitted))
    known, unknown = rows[:50].copy(), rows[:50].copy()
    known[:, 4], unknown[:, 4] = 0, NONE_OF_THESE
    assert (run_session(session, unknown)[:, 1] < run_session(session, known)[:, 1]).all()

"""The tabular model: shapes, independent rows, threads, and invalid artifacts."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.card import Card, write_card
from models.errors import ArtifactInvalid, InvalidInput
from models.store.artifacts import Artifact
from models.store.manifest import MANIFEST_FILE
from models.store.saving import saving
from models.tabular.model import MODEL_FILE, TabularModel
from models.tabular.row_encoder import RowEncoder

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture(scope="module")
def model(tabular_artifact: Artifact) -> TabularModel:
    return TabularModel.load(tabular_artifact)


@pytest.fixture(scope="module")
def rows(tabular_artifact: Artifact) -> NDArray[np.float64]:
    """Return rows of random valid values."""
    random = np.random.default_rng(3)
    inputs = tabular_artifact.card.inputs
    values = [
        {
            column.name: str(random.choice(column.categories))
            if column.kind == "category"
            else int(random.integers(int(column.minimum or 0), int(column.maximum or 0) + 1))
            for column in inputs
        }
        for _ in range(300)
    ]
    return RowEncoder(tabular_artifact.card).encode(values)


def test_it_predicts_probabilities_of_every_class(model: TabularModel, rows: NDArray[np.float64]) -> None:
    answers = model.predict(rows)
    assert answers.dtype == np.float32
    assert answers.shape == (300, 2)
    assert ((answers >= 0) & (answers <= 1)).all()
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
    assert len(np.unique(answers[:, 0])) > 100


def test_a_prediction_is_independent_of_the_batch(model: TabularModel, rows: NDArray[np.float64]) -> None:
    single = np.concatenate([model.predict(rows[index : index + 1]) for index in range(len(rows))])
    np.testing.assert_allclose(single, model.predict(rows), atol=1e-6)


def test_concurrent_calls_return_their_own_results(model: TabularModel, rows: NDArray[np.float64]) -> None:
    expected = model.predict(rows)
    parts = [slice(start, start + 1 + start % 7) for start in range(290)] * 3
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda part: model.predict(rows[part]), parts))
    for part, answer in zip(parts, answers, strict=True):
        np.testing.assert_allclose(answer, expected[part], atol=1e-6)


def test_more_threads_give_the_same_results(
    model: TabularModel, rows: NDArray[np.float64], tabular_artifact: Artifact
) -> None:
    np.testing.assert_allclose(
        TabularModel.load(tabular_artifact, threads=2).predict(rows), model.predict(rows), atol=1e-6
    )


def test_its_example_is_valid(model: TabularModel) -> None:
    assert model.predict(model.example()).shape == (1, 2)


def test_rows_of_any_number_type_and_order_in_memory_are_accepted(
    model: TabularModel, rows: NDArray[np.float64]
) -> None:
    expected = model.predict(rows)
    np.testing.assert_array_equal(model.predict(rows.astype(np.float64)), expected)
    np.testing.assert_array_equal(model.predict(np.asfortranarray(rows)), expected)


@pytest.mark.parametrize("shape", [(9,), (1, 8), (1, 10), (0, 9), (1, 9, 1)])
def test_rows_of_another_shape_are_refused(model: TabularModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"expected: \(N, 9\)"):
        model.predict(np.zeros(shape, np.float32))


def _copy_with(artifact: Artifact, store: Path, *, card: Card, model: bytes) -> Artifact:
    with saving(card, store=store, version="v1") as folder:
        (folder / MODEL_FILE).write_bytes(model)
    return Artifact(card.name, "v1", store / card.name / "v1", card)


def test_a_graph_that_does_not_match_its_card_is_refused(tabular_artifact: Artifact, tmp_path: Path) -> None:
    card = dataclasses.replace(tabular_artifact.card, inputs=tabular_artifact.card.inputs[:-1])
    model = (tabular_artifact.folder / MODEL_FILE).read_bytes()
    with pytest.raises(
        ArtifactInvalid, match="has 9 input columns and 2 output columns; its card has 8 encoded columns and 2 outputs"
    ):
        TabularModel.load(_copy_with(tabular_artifact, tmp_path / "models", card=card, model=model))


def test_an_artifact_of_another_task_is_refused(tabular_artifact: Artifact) -> None:
    card = dataclasses.replace(tabular_artifact.card, task="recommendation")
    with pytest.raises(ArtifactInvalid, match="has the task 'recommendation'"):
        TabularModel.load(dataclasses.replace(tabular_artifact, card=card))


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x00" * 1000])
def test_an_invalid_graph_is_refused(tabular_artifact: Artifact, tmp_path: Path, content: bytes) -> None:
    damaged = _copy_with(tabular_artifact, tmp_path / "models", card=tabular_artifact.card, model=content)
    with pytest.raises(ArtifactInvalid, match="cannot be loaded") as caught:
        TabularModel.load(damaged)
    assert str(tmp_path) not in str(caught.value)


def test_the_artifact_holds_no_code(tabular_artifact: Artifact) -> None:
    files = json.loads((tabular_artifact.folder / MANIFEST_FILE).read_text())["files"]
    assert set(files) == {"model.onnx", "card.json", "report.md"}
    assert {path.name for path in tabular_artifact.folder.rglob("*")} == {*files, MANIFEST_FILE, "model.yaml"}


def test_write_card_is_what_read_card_reads(tabular_artifact: Artifact, tmp_path: Path) -> None:
    write_card(tabular_artifact.card, tmp_path)
    assert (tmp_path / "card.json").read_bytes() == (tabular_artifact.folder / "card.json").read_bytes()


def test_the_runtime_writes_no_telemetry(tabular_artifact: Artifact, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from models.onnx_session import open_session;"
        f"open_session(Path({str(tabular_artifact.folder / MODEL_FILE)!r})); time.sleep(0.2)"
    )
    # Telemetry and an id of the machine would be stored in these folders.
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []

"""Tests of docs/own-models.md: its examples save models that answer, and its tables match the code."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models.python.model import PythonModel
from models.steps import load_steps
from models.store.artifacts import find, verify
from models.tabular.answers import TASKS
from models.tabular.model import TabularModel
from models.tabular.row_encoder import RowEncoder
from tests.serving.http_server import listening
from tests.serving.kinds.tabular.table_service import TableService
from tests.training.example_tables import mixed_frame
from training import save as save_fitted
from training.python.params import Params as PythonParams
from training.python.save import save
from training.tabular.columns import ColumnRules, read_inputs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "own-models.md").read_text()


def code_of(name: str) -> str:
    """Return the block of Python whose first line is a comment with `name`."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    named = {each.partition("\n")[0].removeprefix("# ") if each.startswith("# ") else "": each for each in blocks}
    return str(named[name])


def run_block(name: str, folder: Path) -> Path:
    """Run a program of the page, and return the model store that it saves into."""
    (folder / name).write_text(code_of(name))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENTOML_HOME": str(folder / "home")}
    subprocess.run([sys.executable, folder / name], env=environment, capture_output=True, check=True)
    return folder / "home" / "models"


def test_saves_models_that_you_have_fitted(tmp_path: Path) -> None:
    artifact = find("churn", store=run_block("churn.py", tmp_path))
    (command,) = re.findall(r"\$ (curl -s \S+/v1/tabular/predict.*?})'$", PAGE, re.MULTILINE | re.DOTALL)
    path, body = command.split("3000")[1].split()[0], command.partition("-d '")[2]
    steps = ["save(model, X, y", "PYTHONPATH=. .venv/bin/python churn.py", "MAKUNOUCHI_TABULAR_MODEL=churn make serve"]
    assert all(step in PAGE for step in steps)
    assert len(steps) + len(command.splitlines()) < 10

    with listening(TableService(artifact, tmp_path).app) as address:
        response = httpx.post(f"http://{address}{path}", content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 200, response.text
    (shown,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    answered, expected = response.json(), json.loads(shown)
    ((row,), (shown_row,)) = answered["predictions"], expected["predictions"]
    assert row["prediction"] == shown_row["prediction"]
    # Another processor may add the trees in another order.
    assert row["probabilities"] == pytest.approx(shown_row["probabilities"], abs=1e-3)
    assert answered.keys() == expected.keys()
    assert answered["model"]["name"] == expected["model"]["name"]


def test_a_network_of_torch_is_saved_as_the_page_says_and_answers(tmp_path: Path) -> None:
    artifact = find("prices", store=run_block("prices.py", tmp_path))
    verify(artifact)
    model = TabularModel.load(artifact)
    assert [(column.name, column.kind) for column in artifact.card.inputs] == [("size", "number"), ("rooms", "integer")]
    rows = RowEncoder(artifact.card).encode([{"size": 55.0, "rooms": 2}, {"size": 100.0, "rooms": 4}])
    np.testing.assert_allclose(model.predict(rows), [[1.85], [3.4]], atol=0.15)
    assert model.predict(model.example()).shape == (1, 1)


def test_the_page_names_every_task_of_tables_and_every_option_of_save() -> None:
    assert [task for task in TASKS if f"`{task}`" not in PAGE] == []
    options = [name for name in inspect.signature(save_fitted).parameters if name not in ("model", "X", "y", "name")]
    assert [name for name in options if f"`{name}=" not in PAGE and f", `{name}=" not in PAGE] == []


def test_a_class_is_saved_and_tested_as_the_page_says(tmp_path: Path) -> None:
    for name in ("mymodels/sentiment.py", "conftest.py", "test_sentiment.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code_of(name))
    assert sum(bool(line.strip()) for line in code_of("mymodels/sentiment.py").splitlines()[1:]) <= 15
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "words.json").write_text('{"good": 1, "bad": -1}')
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENTOML_HOME": str(tmp_path / "home")}
    (saving,) = re.findall(r"^    \.venv/bin/python (-m training\.python .*)$", PAGE, re.MULTILINE)
    for command in (saving.split(), ["-m", "pytest", "-q", "-p", "no:cacheprovider"]):
        run = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout


def test_the_step_of_the_page_keeps_probabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page_steps.py").write_text(code_of("mymodels/steps.py"))
    monkeypatch.syspath_prepend(tmp_path)
    steps = load_steps(postprocess="page_steps:Sharpened")
    answers = steps.around(lambda predictor, batch: batch)(None, np.array([[0.8, 0.2]]))
    np.testing.assert_allclose(answers, [[0.64 / 0.68, 0.04 / 0.68]])


def test_the_class_of_the_page_asks_other_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page_offers.py").write_text(code_of("mymodels/offers.py"))
    monkeypatch.syspath_prepend(tmp_path)
    artifact = save(PythonParams(class_="page_offers:Offers", name="offers"), store=tmp_path / "models")

    def ask(name: str, rows: Sequence[Any]) -> list[Any]:
        return [{"prediction": "yes"} if name == "churn" else {"positive": row == "A good film"} for row in rows]

    model = PythonModel.load(artifact, ask)
    customers = [{"instance": {"age": 44, "note": note}} for note in ("A good film", "A bad film")]
    assert model.predict(customers) == [{"prediction": True}, {"prediction": False}]


@pytest.mark.parametrize("word", ["NA", "N/A", "null", "None", "NaN", "?", "-"])
def test_the_words_for_missing_values_are_those(word: str) -> None:
    from models.card import MISSING_WORDS

    assert f"`{word}`" in PAGE
    assert word in MISSING_WORDS


def test_columns_become_what_the_page_says() -> None:
    inputs = read_inputs(mixed_frame().drop(columns="bought"), ColumnRules(), descriptions={})
    assert {column.kind for column in inputs.columns} == {"number", "integer", "boolean", "category", "date"}
    assert all(name in PAGE for name in ("--decimal", "--max-categories", "--unknown-categories accept", "--task"))

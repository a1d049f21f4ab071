"""Tests of docs/own-models.md: its examples save models that answer, and its tables match the code."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from models.store.artifacts import find, verify
from models.tabular.answers import TASKS
from models.tabular.model import TabularModel
from models.tabular.row_encoder import RowEncoder
from tests.serving.http_server import listening
from tests.serving.kinds.tabular.table_service import TableService
from tests.training.example_tables import mixed_frame
from training import save
from training.tabular.columns import ColumnRules, read_inputs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "own-models.md").read_text()


def run_block(containing: str, folder: Path) -> Path:
    """Run the program of the page that contains a text, and return the model store that it saves into."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (code,) = [block for block in blocks if containing in block]
    (folder / "program.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENTOML_HOME": str(folder / "home")}
    subprocess.run([sys.executable, folder / "program.py"], env=environment, capture_output=True, check=True)
    return folder / "home" / "models"


def test_saves_models_that_you_have_fitted(tmp_path: Path) -> None:
    artifact = find("churn", store=run_block('name="churn"', tmp_path))
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
    artifact = find("prices", store=run_block('name="prices"', tmp_path))
    verify(artifact)
    model = TabularModel.load(artifact)
    assert [(column.name, column.kind) for column in artifact.card.inputs] == [("size", "number"), ("rooms", "integer")]
    rows = RowEncoder(artifact.card).encode([{"size": 55.0, "rooms": 2}, {"size": 100.0, "rooms": 4}])
    np.testing.assert_allclose(model.predict(rows), [[1.85], [3.4]], atol=0.15)
    assert model.predict(model.example()).shape == (1, 1)


def test_the_page_names_every_task_of_tables_and_every_option_of_save() -> None:
    assert [task for task in TASKS if f"`{task}`" not in PAGE] == []
    options = [name for name in inspect.signature(save).parameters if name not in ("model", "X", "y", "name")]
    assert [name for name in options if f"`{name}=" not in PAGE and f", `{name}=" not in PAGE] == []


@pytest.mark.parametrize("word", ["NA", "N/A", "null", "None", "NaN", "?", "-"])
def test_the_words_for_missing_values_are_those(word: str) -> None:
    from models.card import MISSING_WORDS

    assert f"`{word}`" in PAGE
    assert word in MISSING_WORDS


def test_columns_become_what_the_page_says() -> None:
    inputs = read_inputs(mixed_frame().drop(columns="bought"), ColumnRules(), descriptions={})
    assert {column.kind for column in inputs.columns} == {"number", "integer", "boolean", "category", "date"}
    assert all(name in PAGE for name in ("--decimal", "--max-categories", "--unknown-categories accept", "--task"))

"""Tests of docs/own-models.md: its example trains a model that answers, and its tables match the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.python.model import PythonModel
from models.steps import load_steps
from models.store.artifacts import find, verify
from models.tabular.model import TabularModel
from models.tabular.row_encoder import RowEncoder
from tests.training.example_tables import mixed_frame
from training.python.params import Params as PythonParams
from training.python.save import save
from training.tabular.columns import ColumnRules, read_inputs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "own-models.md").read_text()


def code_of(name: str) -> str:
    """Return the block of Python whose first line is a comment with `name`, or the one without such a comment."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    named = {each.partition("\n")[0].removeprefix("# ") if each.startswith("# ") else "": each for each in blocks}
    return str(named[name])


def test_a_network_of_torch_is_saved_as_the_page_says_and_answers(tmp_path: Path) -> None:
    (tmp_path / "prices.py").write_text(code_of(""))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENTOML_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, tmp_path / "prices.py"], env=environment, capture_output=True, check=True)

    artifact = find("prices", store=tmp_path / "home" / "models")
    verify(artifact)
    model = TabularModel.load(artifact)
    rows = RowEncoder(artifact.card).encode([{"size": 55.0, "rooms": 2}, {"size": 100.0, "rooms": 4}])
    np.testing.assert_allclose(model.predict(rows), [[1.85], [3.4]], atol=0.15)
    assert model.predict(model.example()).shape == (1, 1)


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

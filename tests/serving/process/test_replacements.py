"""The record of replaced processes, which the supervisor writes and the gateways read."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.process.replacements import Replacement, Replacements, read_replacements, replaced_since
from serving.process.startup import STARTED_FOLDER
from tests.serving.process.supervised_services import Clock


def test_the_record_has_counts_and_the_last_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STARTED_FOLDER, str(tmp_path))
    clock = Clock()
    record = Replacements(tmp_path, clock=clock)
    record.add("ImageRunner", "hung", "one")
    record.add("TabularRunner", "died", "two")
    clock.now = 7.0
    record.add("ImageRunner", "hung", "three")
    assert read_replacements() == {
        "ImageRunner": Replacement({"hung": 2}, "three", 7.0),
        "TabularRunner": Replacement({"died": 1}, "two", 0.0),
    }
    assert replaced_since("ImageRunner", 6.0) == "three"
    assert replaced_since("ImageRunner", 8.0) == ""
    assert replaced_since("TextRunner", 0.0) == ""


def test_without_a_supervisor_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STARTED_FOLDER, raising=False)
    assert read_replacements() == {}
    monkeypatch.setenv(STARTED_FOLDER, str(tmp_path))
    assert read_replacements() == {}
    (tmp_path / "replacements.json").write_text("{")
    assert replaced_since("ImageRunner", 0.0) == ""


def test_a_supervisor_that_cannot_write_goes_on(tmp_path: Path) -> None:
    Replacements(tmp_path / "removed").add("ImageRunner", "died", "one")

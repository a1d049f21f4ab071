"""Fixtures of the benchmark tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report, results


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Publish into a temporary folder and return it."""
    monkeypatch.setattr(results, "PUBLISHED", tmp_path / "results.json")
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(report, "PLOTS", tmp_path / "plots")
    return tmp_path

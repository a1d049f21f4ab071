from __future__ import annotations

import json
from pathlib import Path

from benchmarks import report, results
from tests.benchmarks.example_run import MACHINE, document


def test_a_partial_run_keeps_the_other_parts_and_their_revision(published: Path) -> None:
    report.publish(results.merge(document()))
    part = {
        "machine": {**MACHINE, "revision": "def"},
        "scenarios": {"image": {"title": "Images", "targets": {}}},
    }
    merged = results.merge(part)
    assert merged["scenarios"]["overhead"] == results.without_rounds(document())["scenarios"]["overhead"]
    assert merged["scenarios"]["image"] == {"title": "Images", "targets": {}}
    assert merged["growth"]
    assert merged["made"]["scenarios/image"].startswith("def")
    assert "Measured separately: revision abc" in report.markdown(merged)


def test_results_of_different_machines_are_not_merged(published: Path) -> None:
    report.publish(document())
    part = {"machine": {**MACHINE, "cpu": "another"}, "scenarios": {}}
    assert results.merge(part) == part


def test_a_saved_document_has_the_date_in_its_name(tmp_path: Path) -> None:
    path = results.save(document(), tmp_path / "results")
    assert path.name == "bench-2026-01-01T000000Z.json"
    assert json.loads(path.read_text())["machine"] == MACHINE

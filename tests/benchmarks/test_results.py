from __future__ import annotations

from pathlib import Path

from benchmarks import report, results
from tests.benchmarks.a_run import MACHINE, document


def test_a_run_of_a_part_keeps_the_other_parts_and_tells_them_apart(published: Path) -> None:
    report.publish(results.merged(document()))
    part = {
        "machine": {**MACHINE, "revision": "def"},
        "scenarios": {"image": {"title": "Images", "targets": {}}},
    }
    together = results.merged(part)
    assert together["scenarios"]["overhead"] == results.slim(document())["scenarios"]["overhead"]
    assert together["scenarios"]["image"] == {"title": "Images", "targets": {}}
    assert together["growth"]
    assert together["made"]["scenarios/image"].startswith("def")
    assert "Measured apart: revision abc" in report.markdown(together)


def test_numbers_of_another_machine_are_not_mixed_in(published: Path) -> None:
    report.publish(document())
    part = {"machine": {**MACHINE, "cpu": "another"}, "scenarios": {}}
    assert results.merged(part) == part

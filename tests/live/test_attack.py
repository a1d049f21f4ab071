"""Tests of the short form of the attacks: a real service in production settings breaks no bar."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attack.scenario import load_scenarios

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent.parent
# The short form starts no scenario after 90 s, three times as much with this slack.
LIMIT_S = 480


def test_short_attacks_break_no_bar(default_home: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    options = ["--short", "--slack", "3", "--home", str(default_home), "--output", str(output)]
    command = [sys.executable, "-m", "tests.attack", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
    results = {result["name"]: result for result in json.loads(output.read_text())}
    in_short = {name for name, scenario in load_scenarios().items() if scenario.in_short}
    assert in_short <= results.keys()
    assert sum(results["tokens"]["seen"].values()) >= 30
    acknowledged = [fact for result in results.values() for fact in result["facts"] if fact.startswith("acknowledged")]
    assert len(acknowledged) == 1

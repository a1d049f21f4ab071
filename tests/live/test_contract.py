"""Contract test of the real service: the schemathesis command line checks the OpenAPI document."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures_default import own_home
from tests.live.server import ROOT, serving
from tests.serving.access.credentials import API_KEYS, KEYS

pytestmark = pytest.mark.live

# Per operation and phase; docs/contract.md shows a longer run. tests/serving/test_openapi_contract.py runs the phase
# `coverage`, which has thousands of cases, without a server.
EXAMPLES = 2
PHASES = "examples,fuzzing,stateful"


def test_schemathesis_finds_no_failure(
    default_home: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = own_home(default_home, tmp_path_factory)
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.serving.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    with serving("service:Gateway", env={"BENTOML_HOME": str(home), "MAKUNOUCHI_API_KEYS": API_KEYS}) as server:
        command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{server.url}/openapi.json"]
        options = ["--checks", "all", "--seed", "1", "--no-color", "--max-examples", str(EXAMPLES), "--phases", PHASES]
        # Far above any response time: the service has its own deadline and returns 504.
        timeout = ["--request-timeout", "120"]
        key = ["--header", f"X-API-Key: {KEYS['admin']}"]
        done = subprocess.run(
            [*command, *options, *timeout, *key],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        summary = done.stdout[done.stdout.rfind("= SUMMARY =") :]
        with capsys.disabled():
            sys.stdout.write(f"\n{summary}")
        assert done.returncode == 0, done.stdout[-10_000:]
        match = re.search(r"(\d+) generated, (\d+) passed", summary)
        assert match is not None, done.stdout[-10_000:]
        assert match[1] == match[2]
        assert re.search(r"Tested: (\d+)", summary)
        assert server.stop() == 0

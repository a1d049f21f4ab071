"""The number of gateway processes is a setting; runners have one process each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent.parent
WORKERS = "import service; print(service.Gateway.config['workers'], service.ImageRunner.config['workers'])"


@pytest.mark.slow
@pytest.mark.parametrize("gateways", ["", "3"])
def test_the_setting_is_the_number_of_gateway_processes(gateways: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKUNOUCHI_")}
    run = subprocess.run(
        [sys.executable, "-c", WORKERS], cwd=ROOT, env={**env, "MAKUNOUCHI_GATEWAYS": gateways},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.split() == [gateways or "1", "1"]

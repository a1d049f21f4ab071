"""The start of a serving process: open files, logs and garbage collection."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from serving.observability.logging import set_up_logs
from tests.serving.http_server import listening
from tests.serving.in_process_service import LocalService

ROOT = Path(__file__).parent.parent.parent.parent
RAISES = """
import resource
from serving.process.startup import raise_file_limit
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
assert raise_file_limit() == hard
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
assert raise_file_limit() == hard
"""


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    # In a separate process: the limit applies to the whole process.
    subprocess.run([sys.executable, "-c", RAISES], cwd=ROOT, check=True)


def test_uvicorn_logs_neither_refused_websockets_as_errors_nor_their_queries(
    capfd: pytest.CaptureFixture[str],
) -> None:
    server = logging.getLogger("uvicorn.error")
    before = list(server.filters)
    try:
        set_up_logs("INFO")
        set_up_logs("INFO")
        with (
            listening(LocalService().edged, log_level="info") as address,
            pytest.raises(InvalidStatus),
            connect(f"ws://{address}/v1/ws/predict?key=hunter2", origin=Origin("https://evil.example")),
        ):
            pass
        server.error("something else")
        assert len(server.filters) == len(before) + 1
    finally:
        server.filters[:] = before

    output = capfd.readouterr().err
    assert "handshake" not in output
    assert "hunter2" not in output
    assert "something else" in output


def test_live_objects_are_frozen_and_later_ones_are_collected() -> None:
    code = """
import gc, weakref
from serving.process.startup import freeze_live_objects
class Ring: pass
def ring():
    one = Ring(); one.itself = one
    return weakref.ref(one)
gc.disable()
dead = ring()
freeze_live_objects()
assert dead() is None and gc.get_freeze_count() > 1000
later = ring()
gc.collect()
assert later() is None
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)

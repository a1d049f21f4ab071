"""The start of a serving process: open files, logs and garbage collection."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from serving.observability.logging import set_up_logs
from serving.process.startup import distrust_forwarded_headers
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


def test_new_files_and_folders_are_private(tmp_path: Path) -> None:
    code = """
import pathlib, subprocess, sys
from serving.process.startup import restrict_new_files
restrict_new_files()
folder = pathlib.Path(sys.argv[1])
(folder / "a").touch()
(folder / "b").mkdir()
subprocess.run(["touch", str(folder / "c")], check=True)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    assert modes == {"a": "0o600", "b": "0o700", "c": "0o600"}


@pytest.mark.parametrize(
    ("configured", "peer", "expected"),
    [
        (None, "127.0.0.1", "127.0.0.1"),
        (None, "::1", "::1"),
        (None, "", ""),
        ("10.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("10.0.0.1", "10.0.0.1", "203.0.113.9"),
    ],
)
def test_uvicorn_takes_no_address_from_a_header_unless_it_is_configured(
    configured: str | None, peer: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", configured or "")
    if configured is None:
        monkeypatch.delenv("FORWARDED_ALLOW_IPS")
    distrust_forwarded_headers()
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"][0], scope["scheme"]))

    config = uvicorn.Config(app, interface="asgi3", log_config=None)
    config.load()
    headers = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https")]
    scope = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": headers}
    asyncio.run(config.loaded_app(scope, None, None))
    assert seen == [(expected, "https" if expected == "203.0.113.9" else "http")]


def test_uvicorn_logs_neither_refused_websockets_as_errors_nor_their_queries(
    capfd: pytest.CaptureFixture[str],
) -> None:
    server = logging.getLogger("uvicorn.error")
    before = list(server.filters)
    # Another test in this process may have set up the logs.
    server.filters.clear()
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
        assert len(server.filters) == 1
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


def test_memory_that_threads_of_a_runner_free_returns_to_the_system() -> None:
    # In a separate process: the options of the allocator apply to the whole process.
    code = """
import threading
import psutil
from serving.process.startup import release_memory, share_one_heap
share_one_heap()
# The allocator now keeps up to twice this at the end of a heap.
large = bytearray(30 << 20)
del large
def work():
    blocks = [bytearray(b"x" * 100_000) for _ in range(500)]
rss = psutil.Process().memory_info
before = rss().rss
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
release_memory()
assert rss().rss - before < 10 << 20, (rss().rss - before) >> 20
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_release_of_memory_frees_names_that_the_interpreter_has_cached() -> None:
    code = """
import sys
from serving.process.startup import release_memory
names = ["".join(("up", "per")) for _ in range(10)]
for name in names: getattr(str, name)
cached = [sys.getrefcount(name) for name in names]
release_memory()
assert all(sys.getrefcount(name) < before for name, before in zip(names, cached))
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)

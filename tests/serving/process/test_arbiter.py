"""The replaced constructor of BentoML's arbiter: its endpoints, its limits, and stops while it is busy."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from bentoml._internal.utils import circus
from bentoml.exceptions import BentoMLException
from bentoml.serving import create_watcher, make_reload_plugin
from circus.sockets import CircusSocket  # type: ignore[import-untyped]

from serving.process.arbiter import supervise
from serving.process.bounds import RunnerBounds
from serving.process.graceful_shutdown import KILL_MARGIN_S
from serving.process.parent_watchdog import PARENT
from serving.process.restarts import FAILED_STARTS
from serving.process.startup import STARTED_FOLDER
from serving.process.watchdog import SHORTEST_HANG_S, ProcessLimits

Create = Callable[..., Any]  # Any: circus is untyped
SLEEPS = "import time; time.sleep(600)"
FAILS = "raise SystemExit(1)"
BEATS = (
    "import asyncio; from serving.process.startup import report_started; loop = asyncio.new_event_loop(); "
    "loop.call_soon(report_started); loop.run_forever()"
)
ROOT = Path(__file__).parent.parent.parent.parent
ARBITER = """
import asyncio, os, signal, time
from pathlib import Path
from bentoml._internal.utils import circus
from bentoml.exceptions import BentoMLException
from bentoml.serving import create_watcher
from serving.process.arbiter import supervise
from serving.process.watchdog import ProcessLimits
supervise(ProcessLimits({grace_s}, {hang_s}))
arbiter = circus.create_standalone_arbiter([create_watcher("service_Test", ["-c", {code!r}])])
processes = arbiter.watchers[0].processes
async def once_started():
    pass
{once_started}
arbiter.start(cb=lambda _: arbiter.loop.add_callback(once_started))
"""


@pytest.fixture
def create(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Create]:
    """A function that creates an arbiter as `bentoml serve` does, for one service that runs some code."""
    arbiters = []
    monkeypatch.setattr(circus.Arbiter, "__init__", circus.Arbiter.__init__)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv(PARENT, "")

    def arbiter(code: str = SLEEPS, **options: Any) -> Any:
        watcher = create_watcher("service_Test", ["-c", f"'{code}'"])
        arbiters.append(circus.create_standalone_arbiter([watcher], **options))
        return arbiters[-1]

    yield arbiter
    for each in arbiters:
        each.ctrl.sys_hdl.stop()
        each.exit_stack.close()


def private(folder: Path) -> bool:
    return stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_without_the_replacement_two_tcp_ports_are_open(create: Create) -> None:
    # When this fails, BentoML has changed: the replacement may be unnecessary.
    arbiter = create()
    assert arbiter.endpoint.startswith("tcp://127.0.0.1:")
    assert arbiter.pubsub_endpoint.startswith("tcp://127.0.0.1:")
    assert (arbiter.check_delay, arbiter.watchers[0].graceful_timeout) == (10, 86_400)


def test_nothing_outside_of_the_process_reaches_the_endpoints(create: Create, tmp_path: Path) -> None:
    supervise(ProcessLimits(20))
    arbiter = create()
    assert arbiter.endpoint.startswith("inproc://")
    assert arbiter.pubsub_endpoint.startswith("inproc://")
    (folder,) = tmp_path.iterdir()
    assert private(folder)
    assert arbiter.watchers[0].env[STARTED_FOLDER] == str(folder)
    arbiter.exit_stack.close()
    assert list(tmp_path.iterdir()) == []


def test_the_plugin_of_reload_uses_sockets_in_a_private_folder(create: Create, tmp_path: Path) -> None:
    supervise(ProcessLimits(20))
    arbiter = create(plugins=[make_reload_plugin(str(tmp_path), str(tmp_path))])
    (folder,) = tmp_path.iterdir()
    assert private(folder)
    assert arbiter.endpoint == f"ipc://{folder}/control"
    assert arbiter.pubsub_endpoint == f"ipc://{folder}/events"
    plugin = next(each for each in arbiter.watchers if each.name != "service_Test")
    assert arbiter.endpoint in plugin.cmd
    assert "tcp://" not in plugin.cmd


def test_a_port_in_use_ends_the_start_with_its_number(create: Create, tmp_path: Path) -> None:
    supervise(ProcessLimits(20))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            CircusSocket("_bento_api_server", "127.0.0.1", port) as listening,
            pytest.raises(BentoMLException, match=f"cannot listen on port {port} of 127.0.0.1: Address already in use"),
        ):
            create(sockets=[listening])
    assert list(tmp_path.iterdir()) == []
    with CircusSocket("_bento_api_server", "127.0.0.1", port) as listening:
        create(sockets=[listening])


def test_the_last_call_decides_on_the_grace_period(create: Create) -> None:
    supervise(ProcessLimits(20))
    supervise(ProcessLimits(1))
    assert create().watchers[0].graceful_timeout == 1 + KILL_MARGIN_S


def test_bounds_of_threads_apply_to_their_service(create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.process.arbiter._bounds", {})
    # BentoML prepares each service by its own call.
    supervise(ProcessLimits(20), {"Test": RunnerBounds(threads=3)})
    supervise(ProcessLimits(20), {"Other": RunnerBounds(threads=5)})
    assert create().watchers[0].env["OMP_NUM_THREADS"] == "3"


def test_processes_are_restarted_in_a_container_too(create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bentoml.serving.running_inside_container", lambda: True)
    assert not create().watchers[0].respawn
    supervise(ProcessLimits(20))
    assert create().watchers[0].respawn


def test_an_arbiter_in_a_thread_has_the_same_endpoints(create: Create) -> None:
    supervise(ProcessLimits(20))
    assert create(threaded=True).endpoint.startswith("inproc://")


def run(code: str, once_started: str, *, grace_s: float = 20, hang_s: float = 0) -> subprocess.CompletedProcess[str]:
    """Run an arbiter in another process until it stops: circus waits for all children of its process.

    Its service runs `code`. `once_started` is the body of a coroutine that runs when the arbiter has started.
    """
    program = ARBITER.format(code=code, once_started=indent(once_started, "    "), grace_s=grace_s, hang_s=hang_s)
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "TMPDIR": folder},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip


@pytest.mark.slow
def test_a_stop_signal_while_circus_is_busy_is_not_lost() -> None:
    once_started = """
arbiter._exclusive_running_command = "start_watchers"
os.kill(os.getpid(), signal.SIGTERM)
await asyncio.sleep(0.3)
print("busy")
arbiter._exclusive_running_command = None
"""
    done = run(SLEEPS, once_started)
    assert (done.returncode, done.stdout) == (0, "busy\n")


def test_an_arbiter_that_hangs_ends_with_its_processes() -> None:
    once_started = """
print(*processes, flush=True)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(600)
"""
    done = run(SLEEPS, once_started, grace_s=0.1 - 2 * KILL_MARGIN_S)
    assert done.returncode == 1
    pid = int(done.stdout)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_a_dead_process_is_replaced_at_once() -> None:
    once_started = """
(pid,) = processes
os.kill(pid, signal.SIGKILL)
# circus looks for dead processes every ten seconds.
async with asyncio.timeout(8):
    while list(processes) in ([], [pid]):
        await asyncio.sleep(0.01)
print(len(processes))
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = run(SLEEPS, once_started)
    assert (done.returncode, done.stdout) == (0, "1\n")


@pytest.mark.slow
def test_a_stopped_process_is_replaced() -> None:
    once_started = """
(pid,) = processes
async with asyncio.timeout(20):
    while not list(Path(os.environ["TMPDIR"]).glob(f"supervisor-*/{pid}")):
        await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    while list(processes) in ([], [pid]):
        await asyncio.sleep(0.05)
print(len(processes), time.monotonic() - stopped)
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = run(BEATS, once_started, hang_s=SHORTEST_HANG_S)
    assert done.returncode == 0, done.stderr
    number, seconds = done.stdout.split()
    assert number == "1"
    assert SHORTEST_HANG_S - 0.5 < float(seconds) < SHORTEST_HANG_S + 5
    assert "is killed and restarted: its event loop has not run for 3 s" in done.stderr


@pytest.mark.slow
def test_a_service_that_cannot_start_stops_the_arbiter() -> None:
    done = run(FAILS, "")
    assert done.returncode == 1
    assert done.stderr.count("Test failed to start") == FAILED_STARTS
    assert "BentoMLException: Test cannot start; its log lines above contain the cause" in done.stderr


@pytest.mark.slow
def test_importing_the_service_replaces_and_starts_nothing() -> None:
    program = (
        "import threading, psutil, service\n"
        "from bentoml._internal.utils import circus\n"
        "assert not hasattr(circus.Arbiter.__init__, '__wrapped__')\n"
        "assert threading.active_count() == 1\n"
        "assert psutil.Process().children() == psutil.Process().net_connections('all') == []\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, check=True)

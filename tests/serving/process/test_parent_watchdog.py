"""The parent watchdog and the removal of sockets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from serving.bento.gateway import GatewayService
from serving.bento.runner import RunnerService
from serving.kinds.registry import ServiceSettings
from serving.process.graceful_shutdown import KILL_MARGIN_S
from serving.process.parent_watchdog import PARENT, end_with_parent, is_orphan, name_parent, remove_sockets
from tests.live.server import wait_for

ROOT = Path(__file__).parent.parent.parent.parent
# Starts the watching process, prints its id, and runs until it is killed.
STARTS = """
import subprocess, sys, time
from serving.process.parent_watchdog import name_parent
if sys.argv[1] == "named":
    name_parent()
child = subprocess.Popen([sys.executable, "-c", sys.argv[2]], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""
WATCHES = """
import time
from serving.process.parent_watchdog import end_with_parent
end_with_parent(grace_s=60, check_every_s=0.02)
print("watching", flush=True)
time.sleep(600)
"""
# Ignores SIGTERM in an endless loop, and has no grace period.
HANGS = """
import signal
from serving.process.graceful_shutdown import KILL_MARGIN_S
from serving.process.parent_watchdog import end_with_parent
signal.signal(signal.SIGTERM, signal.SIG_IGN)
end_with_parent(grace_s=-KILL_MARGIN_S, check_every_s=0.02)
print("watching", flush=True)
while True:
    pass
"""


def started(named: str, child: str = WATCHES) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    parent = subprocess.Popen([sys.executable, "-c", STARTS, named, child], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    return parent, psutil.Process(int(parent.stdout.readline()))


def end(parent: subprocess.Popen[bytes]) -> None:
    parent.kill()
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()


def has_ended(process: psutil.Process) -> bool:
    """Return whether the process has ended. Process 1 may reap it later."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_ends_when_its_parent_was_killed(signal_: signal.Signals) -> None:
    parent, child = started("named")
    try:
        with pytest.raises(psutil.TimeoutExpired):
            child.wait(0.3)
        parent.send_signal(signal_)
        wait_for(lambda: has_ended(child), "the end of the child")
    finally:
        end(parent)


def test_a_hung_process_is_killed_after_its_grace_period() -> None:
    parent, child = started("named", HANGS)
    end(parent)
    wait_for(lambda: has_ended(child), "the end of the child")


def test_a_process_whose_parent_was_not_named_outlives_it() -> None:
    parent, child = started("nameless")
    end(parent)
    with pytest.raises(psutil.TimeoutExpired):
        child.wait(0.5)
    child.kill()


def test_a_parent_that_has_already_died_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    monkeypatch.setenv(PARENT, str(dead.pid))
    signals: list[signal.Signals] = []
    thread = end_with_parent(grace_s=-KILL_MARGIN_S, end=signals.append)
    assert thread is not None
    thread.join(120)
    assert signals == [signal.SIGTERM, signal.SIGKILL]


def test_process_1_may_be_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = [1] * 5 + [0]
    monkeypatch.setenv(PARENT, "1")
    monkeypatch.setattr(os, "getppid", lambda: parents.pop(0))
    signals: list[signal.Signals] = []
    thread = end_with_parent(grace_s=-KILL_MARGIN_S, check_every_s=0.01, end=signals.append)
    assert thread is not None
    thread.join(120)
    assert signals == [signal.SIGTERM, signal.SIGKILL]
    assert parents == []


def test_without_a_named_parent_there_is_no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PARENT, raising=False)
    assert end_with_parent(grace_s=1) is None
    monkeypatch.setenv(PARENT, "")
    name_parent()
    assert os.environ[PARENT] == str(os.getpid())
    assert end_with_parent(grace_s=1) is None


@pytest.mark.parametrize("kind", [RunnerService, GatewayService])
def test_the_process_that_deploys_a_service_is_the_parent(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import bentoml
    from _bentoml_impl.server.serving import server_on_deployment  # type: ignore[import-untyped]
    from bentoml._internal.utils import circus

    @bentoml.service(metrics={"enabled": False}, service_class=kind.using(ServiceSettings()))
    class Idle:
        pass

    service: Any = Idle  # Any: the decorator gives a service
    monkeypatch.setattr(circus.Arbiter, "__init__", circus.Arbiter.__init__)
    monkeypatch.setenv(PARENT, "7")
    service.all_services(exclude_urls=True)
    assert os.environ[PARENT] == "7"
    server_on_deployment(service)
    assert os.environ[PARENT] == str(os.getpid())


def test_an_orphan_has_a_named_parent_that_has_died(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for named in ("", "0", str(os.getpid()), str(os.getppid()), "4999999"):
        monkeypatch.setenv(PARENT, named)
        results.append(is_orphan())
    assert results == [False, False, False, False, True]


def test_each_service_removes_its_socket_and_the_last_one_the_folder(tmp_path: Path) -> None:
    ours, others = tmp_path / "bentoml-uds-a b", tmp_path / "bentoml-uds-other"
    for folder in (ours, others):
        folder.mkdir()
        for name in ("one", "two"):
            (folder / f"{name}.sock").touch()
    addresses = {name: (ours / f"{name}.sock").as_uri() for name in ("one", "two")} | {"Gateway": "http://localhost:1"}
    remove_sockets("Gateway", addresses)
    remove_sockets("one", addresses)
    remove_sockets("one", addresses)
    assert [path.name for path in ours.iterdir()] == ["two.sock"]
    remove_sockets("two", addresses)
    remove_sockets("Gateway", addresses)
    assert not ours.exists()
    assert len(list(others.iterdir())) == 2


def test_other_folders_are_not_changed(tmp_path: Path) -> None:
    socket = tmp_path / "one.sock"
    socket.touch()
    remove_sockets("one", {"one": socket.as_uri(), "two": (tmp_path / "empty" / "two.sock").as_uri()})
    assert socket.exists()

"""What ends a process: its parent's end, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from serving.bento.gateway import GatewayService
from serving.bento.runner import RunnerService
from serving.process.parent_watchdog import PARENT, end_with_parent, is_orphan, name_parent, remove_sockets
from tests.live.server import wait_for

ROOT = Path(__file__).parent.parent.parent.parent
# Starts the process that is looked at, tells its number, and goes on until it is killed.
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
end_with_parent(look_s=0.02)
print("watching", flush=True)
time.sleep(600)
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


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_ends_when_its_parent_was_killed(signal_: signal.Signals) -> None:
    parent, child = started("named")
    try:
        with pytest.raises(psutil.TimeoutExpired):
            child.wait(0.3)
        parent.send_signal(signal_)
        wait_for(lambda: not child.is_running(), "the end of the child")
    finally:
        end(parent)


def test_a_process_whose_parent_told_nothing_outlives_it() -> None:
    parent, child = started("nameless")
    end(parent)
    with pytest.raises(psutil.TimeoutExpired):
        child.wait(0.5)
    child.kill()


def test_a_parent_that_is_gone_already_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monkeypatch.setenv(PARENT, str(gone.pid))
    told = threading.Event()
    assert end_with_parent(end=told.set) is not None
    assert told.wait(120)


def test_process_1_may_be_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = [1] * 5 + [0]
    monkeypatch.setenv(PARENT, "1")
    monkeypatch.setattr(os, "getppid", lambda: parents.pop(0))
    told = threading.Event()
    thread = end_with_parent(look_s=0.01, end=told.set)
    assert thread is not None
    thread.join(120)
    assert told.is_set()
    assert parents == []


def test_nobody_watches_themselves_or_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PARENT, raising=False)
    assert end_with_parent() is None
    monkeypatch.setenv(PARENT, "")
    name_parent()
    assert os.environ[PARENT] == str(os.getpid())
    assert end_with_parent() is None


@pytest.mark.parametrize("kind", [RunnerService, GatewayService])
def test_whoever_starts_the_processes_of_a_service_is_their_parent(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import bentoml
    from _bentoml_impl.server.serving import server_on_deployment  # type: ignore[import-untyped]

    @bentoml.service(metrics={"enabled": False}, service_class=kind)
    class Idle:
        pass

    service: Any = Idle  # Any: the decorator gives a service
    monkeypatch.setenv(PARENT, "7")
    service.all_services(exclude_urls=True)
    assert os.environ[PARENT] == "7"
    server_on_deployment(service)
    assert os.environ[PARENT] == str(os.getpid())


def test_only_one_whose_parent_was_named_and_is_gone_is_an_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for named in ("", "0", str(os.getpid()), str(os.getppid()), "4999999"):
        monkeypatch.setenv(PARENT, named)
        said.append(is_orphan())
    assert said == [False, False, False, False, True]


def test_sockets_are_removed_each_by_its_own_and_the_folder_by_the_last(tmp_path: Path) -> None:
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


def test_no_other_folder_is_touched(tmp_path: Path) -> None:
    socket = tmp_path / "one.sock"
    socket.touch()
    remove_sockets("one", {"one": socket.as_uri(), "two": (tmp_path / "empty" / "two.sock").as_uri()})
    assert socket.exists()

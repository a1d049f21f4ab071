"""Which processes the watchdog ends, with real processes and a clock of the test."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from serving.process import watchdog as module
from serving.process.bounds import RunnerBounds
from serving.process.heartbeat import BEAT_EVERY_S, Heartbeat
from serving.process.replacements import Replacements, read_replacements
from serving.process.startup import STARTED_FOLDER
from serving.process.watchdog import SHORTEST_HANG_S, ProcessLimits, Watchdog
from tests.live.server import wait_for
from tests.serving.process.supervised_services import Clock, Service

HANG_S, START_S, BOUND = 10.0, 60.0, 100 << 20
STEP_S = BEAT_EVERY_S / 2
# Prints the names of the signals that it gets, until it is killed.
PRINTS_SIGNALS = """
import signal, sys
for each in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(each, lambda number, frame: print(signal.Signals(number).name, flush=True))
print("ready", flush=True)
while True:
    signal.pause()
"""


class Supervised:
    """One service, its watchdog and the heartbeat of its process."""

    def __init__(self, folder: Path, *, limits: ProcessLimits, name: str) -> None:
        self.folder = folder
        self.clock = Clock()
        self.service = Service(name)
        self.heartbeat = Heartbeat(clock=self.clock)
        self.watchdog = Watchdog(
            lambda: [self.service], folder, limits, Replacements(folder),
            bounds={"ImageRunner": RunnerBounds(max_memory_bytes=BOUND)}, clock=self.clock,
        )  # fmt: skip

    def start(self, *, reports: bool = True, **options: str) -> psutil.Process:
        process = psutil.Process(self.service.start(**options))
        if reports:

            async def report() -> None:
                self.heartbeat.start(self.folder / str(process.pid))

            asyncio.run(report())
        return process

    def pass_time(self, seconds: float, *, beats: bool) -> None:
        """Check every STEP_S, with or without a beat between two checks."""
        for _ in range(round(seconds / STEP_S)):
            self.clock.now += STEP_S
            if beats and round(self.clock.now / STEP_S) % 2:
                self.heartbeat.beat()
            self.watchdog.check()


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Supervised]:
    monkeypatch.setenv(STARTED_FOLDER, str(tmp_path))
    options = {"name": "service_ImageRunner", "limits": ProcessLimits(20, HANG_S, START_S)}
    one = Supervised(tmp_path, **{**options, **getattr(request, "param", {})})
    yield one
    one.service.bury()


def is_killed(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_ZOMBIE)


def test_a_process_that_no_longer_beats_is_killed(supervised: Supervised, caplog: pytest.LogCaptureFixture) -> None:
    process = supervised.start()
    supervised.pass_time(10 * HANG_S, beats=True)
    supervised.pass_time(HANG_S - 2 * STEP_S, beats=False)
    assert not supervised.watchdog.ended
    supervised.pass_time(2 * STEP_S, beats=False)
    wait_for(lambda: is_killed(process), "killed")
    record = read_replacements()["ImageRunner"]
    assert record.counts == {"hung": 1}
    assert record.detail == "its event loop has not run for 10 s; a new process is starting"
    assert f"ImageRunner (process {process.pid}) is killed and restarted: its event loop" in caplog.text
    # It is recorded once, also when circus removes it later.
    supervised.pass_time(HANG_S, beats=False)
    assert read_replacements()["ImageRunner"] == record


def test_a_process_in_which_a_call_does_not_end_is_killed(supervised: Supervised) -> None:
    process = supervised.start()
    supervised.heartbeat.enter_call()
    supervised.pass_time(HANG_S, beats=True)
    assert not supervised.watchdog.ended
    supervised.pass_time(2 * BEAT_EVERY_S, beats=True)
    wait_for(lambda: is_killed(process), "killed")
    assert read_replacements()["ImageRunner"].detail.startswith("a call of its model has been running for 10 s")


def test_many_calls_that_end_are_no_hang(supervised: Supervised) -> None:
    supervised.start()
    call = supervised.heartbeat.enter_call()
    for _ in range(5):
        supervised.pass_time(HANG_S / 2, beats=True)
        later = supervised.heartbeat.enter_call()
        supervised.heartbeat.leave_call(call)
        call = later
    assert not supervised.watchdog.ended


def test_a_suspended_supervisor_kills_nothing(supervised: Supervised) -> None:
    supervised.start()
    supervised.heartbeat.enter_call()
    for _ in range(5):
        # A laptop that sleeps: nothing beats, and the clock jumps.
        supervised.clock.now += 3600
        supervised.pass_time(BEAT_EVERY_S, beats=True)
    assert not supervised.watchdog.ended


def test_a_process_that_loads_a_version_has_the_time_of_a_start(supervised: Supervised) -> None:
    process = supervised.start()
    with supervised.heartbeat.loading():
        supervised.pass_time(START_S - STEP_S, beats=False)
        assert not supervised.watchdog.ended
        supervised.pass_time(2 * STEP_S, beats=False)
    wait_for(lambda: is_killed(process), "killed")


def test_a_process_that_does_not_start_is_killed(supervised: Supervised) -> None:
    process = supervised.start(reports=False)
    supervised.pass_time(START_S - STEP_S, beats=False)
    assert not supervised.watchdog.ended
    supervised.pass_time(STEP_S, beats=False)
    wait_for(lambda: is_killed(process), "killed")
    assert read_replacements()["ImageRunner"].counts == {"start": 1}


def test_a_process_without_signs_of_life_is_left_alone(supervised: Supervised) -> None:
    process = supervised.start(reports=False)
    # Its report is empty: it could not write, or it is of another kind.
    (supervised.folder / str(process.pid)).touch()
    supervised.pass_time(2 * START_S, beats=False)
    assert not supervised.watchdog.ended
    # The restart policy removes the report of a dead process before circus removes the process.
    (supervised.folder / str(process.pid)).unlink()
    supervised.pass_time(2 * START_S, beats=False)
    assert read_replacements() == {}


def test_a_process_that_circus_stops_is_left_alone(supervised: Supervised) -> None:
    process = supervised.start()
    supervised.service.processes[process.pid].stopping = True
    supervised.pass_time(2 * HANG_S, beats=False)
    assert not supervised.watchdog.ended


@pytest.mark.parametrize("supervised", [{"limits": ProcessLimits(20, 0.0, START_S)}], indirect=True, ids=["disabled"])
def test_the_check_can_be_disabled(supervised: Supervised) -> None:
    supervised.start()
    supervised.heartbeat.enter_call()
    supervised.pass_time(2 * HANG_S, beats=True)
    supervised.pass_time(2 * HANG_S, beats=False)
    assert not supervised.watchdog.ended


@pytest.mark.parametrize("supervised", [{"limits": ProcessLimits(20, 0.1, START_S)}], indirect=True, ids=["short"])
def test_a_busy_machine_may_stop_a_process_longer_than_a_short_timeout(supervised: Supervised) -> None:
    supervised.start()
    supervised.pass_time(SHORTEST_HANG_S - 2 * STEP_S, beats=False)
    assert not supervised.watchdog.ended


@pytest.mark.parametrize("supervised", [{"name": "service"}], indirect=True, ids=["gateway"])
def test_a_gateway_whose_event_loop_runs_is_drained_first(supervised: Supervised) -> None:
    process = supervised.start(code=PRINTS_SIGNALS)
    output = supervised.service.processes[process.pid].stdout
    assert output.readline() == b"ready\n"
    supervised.heartbeat.enter_call()
    supervised.pass_time(HANG_S + BEAT_EVERY_S, beats=True)
    assert output.readline() == b"SIGTERM\n"
    supervised.pass_time(1.0, beats=True)
    assert output.readline() == b"SIGUSR1\n"
    assert not is_killed(process)
    supervised.pass_time(1.0, beats=True)
    wait_for(lambda: is_killed(process), "killed")
    assert supervised.service.processes[process.pid].wait() == -signal.SIGKILL
    assert read_replacements()["service"].counts == {"hung": 1}


def test_a_process_that_outgrows_its_memory_is_killed(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    used = BOUND
    monkeypatch.setattr(module, "private_bytes", lambda pid: used)
    process = supervised.start()
    supervised.pass_time(2, beats=True)
    used = BOUND + (50 << 20)
    with supervised.heartbeat.loading():
        # Two versions are in memory.
        supervised.pass_time(2, beats=True)
    assert not supervised.watchdog.ended
    supervised.pass_time(1, beats=True)
    wait_for(lambda: is_killed(process), "killed")
    assert read_replacements()["ImageRunner"].counts == {"memory": 1}
    assert "it uses 150 MiB of memory, more than its bound of 100 MiB; look for a leak" in caplog.text
    # The restart policy counts it as one that had started.
    assert (supervised.folder / str(process.pid)).exists()


def test_a_process_that_needs_more_at_its_start_has_not_started(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "private_bytes", lambda pid: BOUND + 1)
    process = supervised.start()
    supervised.pass_time(STEP_S, beats=True)
    wait_for(lambda: is_killed(process), "killed")
    assert not (supervised.folder / str(process.pid)).exists()
    assert "already at its start" in read_replacements()["ImageRunner"].detail


def test_children_of_a_hung_process_are_killed(supervised: Supervised) -> None:
    code = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    process = supervised.start(code=code)
    supervised.service.processes[process.pid].stdout.readline()
    (child,) = process.children()
    supervised.pass_time(HANG_S + STEP_S, beats=False)
    wait_for(lambda: not child.is_running() or is_killed(child), "the child is killed")

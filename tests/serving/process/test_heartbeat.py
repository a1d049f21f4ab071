"""The signs of life of a process: beats, the age of its oldest call, and loading."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from serving.process import heartbeat as module
from serving.process.heartbeat import BEAT_EVERY_S, LONGEST_BEAT_S, Heartbeat, SignsOfLife, read_signs
from tests.serving.process.supervised_services import Clock


@pytest.fixture
def heartbeat() -> Heartbeat:
    return Heartbeat()


async def started(heartbeat: Heartbeat, path: Path) -> None:
    heartbeat.start(path)


def test_the_event_loop_beats(heartbeat: Heartbeat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_EVERY_S", 0.01)

    async def main() -> None:
        heartbeat.start(tmp_path / "1")
        assert read_signs(tmp_path / "1") == SignsOfLife(0, 0.0, False)
        async with asyncio.timeout(5):
            while (signs := read_signs(tmp_path / "1")) is None or signs.beats < 3:
                await asyncio.sleep(0.01)

    asyncio.run(main())
    # The file appears with its content.
    assert list(tmp_path.iterdir()) == [tmp_path / "1"]


def test_the_oldest_call_ages_with_each_beat(tmp_path: Path) -> None:
    clock = Clock()
    heartbeat = Heartbeat(clock=clock)
    asyncio.run(started(heartbeat, tmp_path / "1"))

    def age_s(after_s: float = BEAT_EVERY_S) -> float:
        clock.now += after_s
        heartbeat.beat()
        signs = read_signs(tmp_path / "1")
        assert signs is not None
        return signs.call_age_s

    assert age_s() == 0
    first, second = heartbeat.enter_call(), heartbeat.enter_call()
    assert [age_s() for _ in range(3)] == [0, BEAT_EVERY_S, 2 * BEAT_EVERY_S]
    heartbeat.leave_call(first)
    assert [age_s() for _ in range(2)] == [0, BEAT_EVERY_S]
    # Beats come late while another thread keeps the interpreter busy, and much later after the machine was suspended.
    assert age_s(after_s=1.2) == pytest.approx(BEAT_EVERY_S + 1.2)
    assert age_s(after_s=3600) == pytest.approx(BEAT_EVERY_S + 1.2 + LONGEST_BEAT_S)
    heartbeat.leave_call(second)
    assert age_s() == 0


def test_loading_is_visible_at_once(heartbeat: Heartbeat, tmp_path: Path) -> None:
    asyncio.run(started(heartbeat, tmp_path / "1"))
    with heartbeat.loading(), heartbeat.loading():
        assert read_signs(tmp_path / "1") == SignsOfLife(0, 0.0, True)
    assert read_signs(tmp_path / "1") == SignsOfLife(0, 0.0, False)


def test_a_process_that_cannot_write_is_not_expected_to_beat(
    heartbeat: Heartbeat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(started(heartbeat, tmp_path / "1"))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    heartbeat.beat()
    heartbeat.beat()
    assert read_signs(tmp_path / "1") is None
    assert (tmp_path / "1").exists()
    assert caplog.text.count("No space left on device") == 1


def test_without_a_supervisor_nothing_is_written(heartbeat: Heartbeat, tmp_path: Path) -> None:
    heartbeat.leave_call(heartbeat.enter_call())
    with heartbeat.loading():
        heartbeat.beat()
    assert read_signs(tmp_path / "1") is None

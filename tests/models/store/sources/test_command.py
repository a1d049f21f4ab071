"""The command that fetches, and the progress that it shows."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import pytest

from models.store.__main__ import main
from models.store.artifacts import find
from models.store.sources.fetch import fetch
from models.store.sources.progress import LogLines, Meter, Progress, TerminalLine
from tests.models.store.sources.conftest import FAST, save_artifact


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_command_prints_the_tag(artifact: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fetch", f"file://{artifact}", "--name", "churn"])
    assert capsys.readouterr() == (f"{find('churn', store=store).tag}\n", "")


def test_the_command_says_what_latest_is(tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (save_artifact(tmp_path / str(seed), seed=seed) for seed in range(2))
    main(["fetch", f"file://{first}", "--name", "churn"])
    latest = find("churn", store=store).tag
    main(["fetch", f"file://{second}", "--name", "churn"])
    assert f"latest is still {latest}; --promote lets it name" in capsys.readouterr().err
    main(["fetch", f"file://{second}", "--name", "churn", "--promote"])
    assert capsys.readouterr() == (f"{find('churn', store=store).tag}\n", "")
    assert find("churn", store=store).tag != latest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["file:///nowhere", "--name", "churn"], "there is no 'manifest.json' of source 'file:///nowhere'"),
        (["ftp://host/x", "--name", "churn"], "unknown scheme 'ftp' of a source; known: s3://, https://"),
        (["file:///nowhere", "--name", "Churn"], "'Churn' is not a valid artifact name"),
        (["http://models.example/x", "--name", "churn"], "has no TLS; use https://"),
    ],
)
def test_an_error_is_one_line(
    store: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_bounds_are_options(artifact: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", f"file://{artifact}", "--name", "churn", "--max-bytes", "1000"]) == 2
    assert "the maximum is 1000" in capsys.readouterr().err
    options = ["--name", "churn", "--http-host", "models.invalid"]
    assert main(["fetch", "http://models.invalid/x", *options]) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_the_log_has_a_line_every_five_seconds_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    meter = Meter("s3://models/churn", LogLines(), clock=clock)
    meter.total_bytes = 40 << 20
    for _ in range(40):
        clock.now += 0.5
        meter.received(1 << 20)
    meter.report()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 5
    assert lines[0] == "source 's3://models/churn': 10.0 of 40.0 MiB (25%), 2.0 MiB/s"
    assert lines[-1] == "source 's3://models/churn': 40.0 of 40.0 MiB (100%), 2.0 MiB/s"


def test_bytes_that_were_there_do_not_count_for_the_speed() -> None:
    seen: list[Progress] = []

    class Seen:
        every_s = 1.0

        def __call__(self, progress: Progress) -> None:
            seen.append(progress)

    clock = Clock()
    meter = Meter("x", Seen(), clock=clock)
    meter.done_bytes = 1000
    clock.now = 2.0
    meter.received(100)
    assert seen == [Progress("x", 1100, None, 50.0)]


def test_a_terminal_shows_one_line_and_a_file_none(artifact: Path, store: Path) -> None:
    terminal, file = Terminal(), io.StringIO()
    for number, stream in enumerate((terminal, file)):
        line = TerminalLine(stream)
        fetch(f"file://{artifact}", name=f"churn{number}", options=FAST, report=line)
        line.end()
    assert re.fullmatch(r"(\r\x1b\[2K  0\.4 of 0\.4 MiB \(100%\), \d+\.\d MiB/s)+\n", terminal.getvalue())
    assert file.getvalue() == ""

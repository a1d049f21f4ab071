"""Tests of command lines made from dataclasses: options, exit codes and messages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from models.errors import DataInvalid
from training.command import option, parse, run


@dataclass(frozen=True)
class Params:
    """One option of every type."""

    rounds: int = option(10, "how many rounds")
    learning_rate: float = option(0.5, "step size")
    name: str = option("tiny", "name of the artifact")
    data: Path | None = option(None, "a file")
    limit: float | None = option(None, "a limit")
    shuffle: bool = option(True, "mix the rows")
    drop: tuple[str, ...] = option((), "columns to drop")
    sizes: tuple[int, ...] = option((3, 4), "layer sizes")
    mode: str = option("fast", "how to run", choices=("fast", "slow"))
    task: Literal["auto", "hard"] = option("auto", "what to do")


def parsed(*arguments: str) -> Params:
    return parse(Params, description="Try it.", arguments=arguments)


def test_without_arguments_every_default_holds() -> None:
    assert parsed() == Params()


def test_every_type_is_read() -> None:
    result = parsed(
        *("--rounds", "3", "--learning-rate", "1e-3", "--name", "große", "--data", "a b.csv", "--limit", "0"),
        *("--no-shuffle", "--drop", "x,y z", "--sizes", "1,2", "--mode", "slow", "--task", "hard"),
    )
    assert result == Params(3, 1e-3, "große", Path("a b.csv"), 0.0, False, ("x", "y z"), (1, 2), "slow", "hard")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--rounds", "many"), "--rounds: invalid int value: 'many'"),
        (("--learning-rate", "fast"), "--learning-rate: invalid float value"),
        (("--sizes", "1,x"), "--sizes: invalid"),
        (("--mode", "other"), "--mode: invalid choice: 'other' (choose from"),
        (("--task", "easy"), "--task: invalid choice: 'easy' (choose from"),
        (("--unknown", "1"), "unrecognized arguments: --unknown 1"),
        (("--rounds",), "--rounds: expected one argument"),
    ],
)
def test_a_wrong_value_exits_with_2_and_says_which(
    arguments: tuple[str, ...], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments)
    assert caught.value.code == 2
    assert fault in capsys.readouterr().err


def test_help_names_every_option_with_its_default_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed("--help")
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Try it." in text
    for expected in ("--rounds N how many rounds (default: 10)", "--data PATH", "--shuffle, --no-shuffle mix the rows",
                     "--mode {fast,slow}", "--task {auto,hard}", "--drop A,B", "--learning-rate X"):  # fmt: skip
        assert expected in text


def _run(error: BaseException | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def main(params: Params) -> None:
        assert params.rounds == 7
        if error:
            raise error

    monkeypatch.setattr("sys.argv", ["train", "--rounds", "7"])
    run(main, Params, description="Try it.")


def test_a_platform_error_is_one_line_and_exit_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as caught:
        _run(DataInvalid("no file 'x.csv'"), monkeypatch)
    assert caught.value.code == "error: no file 'x.csv'"


def test_an_interrupt_says_that_nothing_was_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as caught:
        _run(KeyboardInterrupt(), monkeypatch)
    assert caught.value.code == "interrupted: nothing was saved"


def test_a_full_disk_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as caught:
        _run(OSError(28, "No space left on device"), monkeypatch)
    assert str(caught.value.code).startswith("error: ")
    assert "No space left on device" in str(caught.value.code)


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        _run(ZeroDivisionError(), monkeypatch)


def test_success_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    _run(None, monkeypatch)

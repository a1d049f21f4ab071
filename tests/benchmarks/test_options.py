from __future__ import annotations

import pytest

from benchmarks.options import parse


def test_the_default_is_a_run_of_everything() -> None:
    options = parse([])
    assert (options.command, options.rounds, options.seconds, options.report) == ("run", 3, 1.0, True)
    assert options.wants("tabular")
    assert options.wants_peer("mosec", "mosec")


def test_only_selects_by_prefix() -> None:
    options = parse(["run", "--only", "image, tabular"])
    assert [options.wants(part) for part in ("image-500-lite0", "tabular", "overhead")] == [True, True, False]


def test_peers_select_by_peer_or_target() -> None:
    options = parse(["--peers", "fastapi,ours-inline"])
    assert options.wants_peer("fastapi", "fastapi-torch")
    assert options.wants_peer("ours", "ours-inline")
    assert not options.wants_peer("ours", "ours-process")


@pytest.mark.parametrize("option", ["--rounds", "--seconds", "--requests"])
def test_a_number_below_one_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([option, "0"])
    assert "must be at least 1" in capsys.readouterr().err

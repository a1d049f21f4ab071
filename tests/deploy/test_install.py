"""The installer of the development environment: what pip is configured with reaches uv, and pip installs without uv."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import install
from deploy.install import find_uv, install_with_uv, pip_options, read_options, uv_environment


def test_the_environment_wins_over_the_section_install_and_that_over_global() -> None:
    lines = [
        ":env:.find-links='/env'",
        "global.find-links='/global'",
        "global.index-url='https://global.example/simple'",
        "global.cert='/global.crt'",
        "install.index-url='https://install.example/simple'",
        "download.index-url='https://download.example/simple'",
        "",
    ]
    assert read_options(lines) == {
        "find-links": "/env", "index-url": "https://install.example/simple", "cert": "/global.crt"
    }  # fmt: skip


def test_options_become_the_variables_of_uv() -> None:
    options = {"index-url": "https://one.example/simple", "find-links": "/a /b", "cert": "/x.crt", "no-color": "true"}
    assert uv_environment(options, {}) == {
        "UV_DEFAULT_INDEX": "https://one.example/simple", "UV_FIND_LINKS": "/a,/b", "SSL_CERT_FILE": "/x.crt"
    }  # fmt: skip


def test_further_indexes_are_searched_as_pip_does() -> None:
    variables = uv_environment({"extra-index-url": "https://two.example/simple\nfile:///three"}, {})
    assert variables == {
        "UV_INDEX": "https://two.example/simple file:///three", "UV_INDEX_STRATEGY": "unsafe-best-match"
    }  # fmt: skip


def test_variables_of_uv_that_are_set_already_win() -> None:
    assert uv_environment({"cert": "/x.crt", "find-links": "/a"}, {"SSL_CERT_FILE": "/own.crt"}) == {
        "UV_FIND_LINKS": "/a"
    }


def test_the_options_are_those_that_pip_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://one.example/simple")
    assert pip_options()["index-url"] == "https://one.example/simple"


@pytest.mark.slow
def test_the_environments_uv_is_used() -> None:
    assert find_uv() == str(Path(sys.executable).with_name("uv"))


def test_pip_installs_uv_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def record(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(subprocess, "run", record)
    assert find_uv() is None
    (command,) = [each for each in commands if "install" in each]
    assert command[1:4] == ["-m", "pip", "install"]
    assert command[-1] == "uv"


def test_without_uv_the_reason_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(install, "find_uv", lambda: None)
    assert not install_with_uv()
    assert "installing with pip" in capsys.readouterr().out


def test_a_failure_of_uv_is_printed_and_leaves_the_rest_to_pip(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failing = tmp_path / "uv"
    failing.write_text("#!/bin/sh\nexit 2\n")
    failing.chmod(0o755)
    monkeypatch.setattr(install, "find_uv", lambda: str(failing))
    assert not install_with_uv()
    assert "uv failed with status 2 (see above); installing with pip" in capsys.readouterr().out

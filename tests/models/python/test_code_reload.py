"""Tests of reloading the user's classes: a change answers, a fault changes nothing, other modules are followed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.python.code_reload import CodeReloader
from models.python.model import PythonModel
from training.python.params import Params
from training.python.save import save

CLASS = """
from reloaded_project.parts.words import NUMBER

class Count:
    example = "a"
    def predict(self, texts: list[str]) -> list[int]:
        return [NUMBER for _ in texts]
"""


class Project:
    """A user's package, loaded by a reloader that checks when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.package = folder / "reloaded_project"
        (self.package / "parts").mkdir(parents=True)
        (self.package / "__init__.py").touch()
        self.words, self.main = self.package / "parts" / "words.py", self.package / "count.py"
        self.words.write_text("NUMBER = 1\n")
        self.main.write_text(CLASS)
        params = Params(class_="reloaded_project.count:Count", name="count")
        self.reloader = CodeReloader()
        self.model: PythonModel = self.reloader.load(save(params, store=folder / "models"))

    def answer(self) -> object:
        return self.model.predict([{"instance": "x"}])[0]["prediction"]

    def wait(self, answer: object) -> float:
        """Wait until the model gives `answer`, and return how long that took."""
        started = time.monotonic()
        while self.answer() != answer:
            assert time.monotonic() - started < 20
            time.sleep(0.01)
        return time.monotonic() - started


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    yield Project(tmp_path)
    for name in [name for name in sys.modules if name.startswith("reloaded_project")]:
        del sys.modules[name]


def test_a_change_of_any_module_answers(project: Project) -> None:
    assert project.answer() == 1
    # In the second in which it was compiled, and of the same size.
    project.words.write_text("NUMBER = 2\n")
    project.wait(2)
    project.main.write_text(CLASS.replace("NUMBER for", "NUMBER + 1 for"))
    project.wait(3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("class Count(", "SyntaxError"),
        (CLASS.replace("list[int]", "list[str]"), "the output type of class"),
        (CLASS.replace("NUMBER for", "1 / 0 for"), "division by zero"),
        (CLASS.replace("class Count", "class Other"), "no class 'Count'"),
    ],
)
def test_code_with_a_fault_changes_nothing_until_it_is_mended(
    project: Project, code: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    project.main.write_text(code)
    until = time.monotonic() + 20
    while "is not used" not in caplog.text:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert reason in caplog.text
    assert project.answer() == 1
    project.main.write_text(CLASS.replace("NUMBER for", "NUMBER + 4 for"))
    project.wait(5)


def test_nothing_is_imported_without_a_change(project: Project) -> None:
    module = sys.modules["reloaded_project.count"]
    assert not project.reloader.check()
    assert sys.modules["reloaded_project.count"] is module

"""Tests of the cache of trained models: entries are complete or absent, and two processes train only once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import tests.artifact_cache
from tests.artifact_cache import ROOT, _imported, cached_home, cached_store, imports_key


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAKUNOUCHI_CACHE", str(tmp_path))
    return tmp_path / "test-artifacts"


def save(store: Path, content: str) -> None:
    store.mkdir(parents=True)
    (store / "model").write_text(content)


def test_an_entry_is_trained_once(cache: Path) -> None:
    first = cached_store("m", "key", lambda store: save(store, "first"))
    second = cached_store("m", "key", lambda store: save(store, "second"))
    assert first == second
    assert (second / "model").read_text() == "first"
    assert (cached_store("m", "other", lambda store: save(store, "second")) / "model").read_text() == "second"


def test_concurrent_callers_train_once(cache: Path) -> None:
    first_trains, second_returned = threading.Event(), threading.Event()
    contents: list[str] = []

    def train(store: Path) -> None:
        first_trains.set()
        # A second caller that trains would finish long before this.
        assert not second_returned.wait(0.5)
        save(store, "first")

    def call_second() -> None:
        first_trains.wait()
        contents.append((cached_store("m", "key", lambda store: save(store, "second")) / "model").read_text())
        second_returned.set()

    second = threading.Thread(target=call_second)
    second.start()
    contents.append((cached_store("m", "key", train) / "model").read_text())
    second.join()
    assert contents == ["first", "first"]
    assert [path.name for path in cache.iterdir()] == ["m-key"]


def test_a_failed_training_leaves_no_entry(cache: Path) -> None:
    def train(store: Path) -> None:
        save(store, "incomplete")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        cached_store("m", "key", train)
    assert list(cache.iterdir()) == []


def test_a_command_saves_into_its_bentoml_home(cache: Path) -> None:
    home = cached_home(
        "m", "key", "timeit", "-n1", "-r1", "import os; os.mkdir(os.environ['BENTOML_HOME'] + '/models')"
    )
    assert home == cache / "m-key"
    assert [path.name for path in home.iterdir()] == ["models"]


def test_a_command_finds_the_models_of_other_stores(cache: Path, tmp_path: Path) -> None:
    save(tmp_path / "store" / "other", "first")
    rename = "import os; os.chdir(os.environ['BENTOML_HOME'] + '/models'); os.rename('other', 'found')"
    home = cached_home("m", "key", "timeit", "-n1", "-r1", rename, stores=[tmp_path / "store"])
    assert (home / "models" / "found" / "model").read_text() == "first"


PROJECT = {
    "requirements.lock": "numpy==2",
    "training/__init__.py": "",
    "training/a.py": "import numpy\n\n\ndef f():\n    from models import b\n",
    "models/__init__.py": "",
    "models/b.py": "from models.c import value\n",
    "models/c.py": "value = 1\n",
    "models/d.py": "import models.c\n",
}


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("training/a.py", "import numpy\n\n\ndef f():\n    from models import b\n\n\nf()\n", True),
        ("models/c.py", "value = 2\n", True),
        ("models/__init__.py", "import os\n", True),
        ("requirements.lock", "numpy==3", True),
        ("models/c.py", '"""A docstring."""\n\nvalue = 1  # a comment\n', False),
        ("models/d.py", "value = 3\n", False),
        ("models/e.py", "value = 3\n", False),
    ],
)
def test_the_key_changes_with_what_the_training_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, changes: bool
) -> None:
    keys = []
    for number, project in enumerate((PROJECT, PROJECT | {file: text})):
        root = tmp_path / str(number)
        for name, content in project.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
        monkeypatch.setattr(tests.artifact_cache, "ROOT", root)
        keys.append(imports_key("training.a"))
    assert (keys[0] != keys[1]) == changes
    assert imports_key("training.a", also="--seed 1") != keys[1]


def test_a_model_does_not_depend_on_the_modules_of_other_kinds() -> None:
    for kind, others in (("image", "tabular"), ("tabular", "recommender"), ("recommender", "image")):
        files = {path.relative_to(ROOT).as_posix() for path in _imported([f"training.{kind}.train"])}
        assert {f"training/{kind}/train.py", f"training/{kind}/params.py", "models/store/artifacts.py"} <= files
        assert not any(f"/{others}/" in file or file.startswith(("serving/", "tests/")) for file in files)


@pytest.mark.slow
def test_the_training_of_a_fixture_of_the_session_is_shown(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\nimport pytest\n\n\n"
        "@pytest.fixture(scope='session')\ndef default_home():\n    sys.stderr.write('> train')\n\n\n"
        "def test_it(default_home):\n    print('captured')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.training_progress", "-c", os.devnull, str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stderr == "> train"
    assert "captured" not in run.stdout

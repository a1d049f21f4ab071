"""Tests of the cache of trained models: entries are complete or absent, and two processes train only once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.artifact_cache import cached_home, cached_store, sources_key


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


def test_the_key_depends_on_sources_and_options() -> None:
    key = sources_key("tests/artifact_cache.py")
    assert key == sources_key("tests/artifact_cache.py")
    assert key not in (sources_key("tests/artifact_*.py", also="--seed 1"), sources_key("tests/*.py"))

"""Tests of the cache of trained models: atomic entries, shared by concurrent runs."""

from __future__ import annotations

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


def test_the_slower_of_two_concurrent_runs_takes_the_entry_of_the_faster(cache: Path) -> None:
    def train(store: Path) -> None:
        cached_store("m", "key", lambda faster: save(faster, "faster"))
        save(store, "slower")

    assert (cached_store("m", "key", train) / "model").read_text() == "faster"
    assert [path.name for path in cache.iterdir()] == ["m-key"]


def test_a_failed_training_leaves_no_entry(cache: Path) -> None:
    def train(store: Path) -> None:
        save(store, "half")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        cached_store("m", "key", train)
    assert list(cache.iterdir()) == []


def test_a_command_saves_into_a_separate_home(cache: Path) -> None:
    home = cached_home(
        "m", "key", "timeit", "-n1", "-r1", "import os; os.mkdir(os.environ['BENTOML_HOME'] + '/models')"
    )
    assert home == cache / "m-key"
    assert [path.name for path in home.iterdir()] == ["models"]


def test_a_key_follows_the_sources_and_the_options() -> None:
    key = sources_key("tests/artifact_cache.py")
    assert key == sources_key("tests/artifact_cache.py")
    assert key not in (sources_key("tests/kept_*.py", also="--seed 1"), sources_key("tests/*.py"))

"""What tests train is made once, whole or not at all, and two runs that make the same at once share one result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.artifact_cache import kept_home, kept_store, sources_key


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAKUNOUCHI_CACHE", str(tmp_path))
    return tmp_path / "test-artifacts"


def save(store: Path, said: str) -> None:
    store.mkdir(parents=True)
    (store / "model").write_text(said)


def test_what_is_kept_is_made_once(cache: Path) -> None:
    first = kept_store("m", "key", lambda store: save(store, "first"))
    second = kept_store("m", "key", lambda store: save(store, "second"))
    assert first == second
    assert (second / "model").read_text() == "first"
    assert (kept_store("m", "other", lambda store: save(store, "second")) / "model").read_text() == "second"


def test_of_two_runs_at_once_the_slower_takes_what_the_faster_made(cache: Path) -> None:
    def train(store: Path) -> None:
        kept_store("m", "key", lambda faster: save(faster, "faster"))
        save(store, "slower")

    assert (kept_store("m", "key", train) / "model").read_text() == "faster"
    assert [path.name for path in cache.iterdir()] == ["m-key"]


def test_what_fails_leaves_nothing(cache: Path) -> None:
    def train(store: Path) -> None:
        save(store, "half")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        kept_store("m", "key", train)
    assert list(cache.iterdir()) == []


def test_a_command_saves_into_a_home_of_its_own(cache: Path) -> None:
    home = kept_home("m", "key", "timeit", "-n1", "-r1", "import os; os.mkdir(os.environ['BENTOML_HOME'] + '/models')")
    assert home == cache / "m-key"
    assert [path.name for path in home.iterdir()] == ["models"]


def test_a_key_follows_the_sources_and_the_options() -> None:
    key = sources_key("tests/artifact_cache.py")
    assert key == sources_key("tests/artifact_cache.py")
    assert key not in (sources_key("tests/kept_*.py", also="--seed 1"), sources_key("tests/*.py"))

"""Aliases are set, promoted through the quality gate, rolled back and removed; what is refused changes nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.card import Column
from models.errors import ArtifactInvalid, ArtifactMissing, GateNotMet, InvalidInput, NotKnown
from models.store.alias_file import ALIASES_FILE, MAX_CHANGES, read_aliases
from models.store.aliases import CHAMPION, Aliases
from models.store.artifact_cache import ArtifactCache
from models.store.artifacts import find, versions
from models.store.bento_models import locate
from tests.models.store.registry_store import DATA, save_version


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with the versions v1, v2 and v3, of which v3 is worse."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    store = tmp_path / "home" / "models"
    for version, auc in (("v1", 0.8), ("v2", 0.79), ("v3", 0.7)):
        save_version(store, version, auc=auc)
    return store


@pytest.fixture
def aliases(store: Path) -> Aliases:
    return Aliases("churn", store=store)


def named(store: Path, alias: str = CHAMPION) -> str:
    return find(f"churn:{alias}", store=store).version


def test_a_tag_with_an_alias_is_the_version_that_it_names(store: Path, aliases: Aliases, tmp_path: Path) -> None:
    aliases.promote(CHAMPION, "v1", author="anna")
    aliases.set("challenger", "latest", author="anna")
    cache = ArtifactCache("churn:champion", code=tmp_path)
    assert named(store) == locate("churn:champion", code=tmp_path).version == cache.find_verified().version == "v1"
    assert named(store, "challenger") == "v3"

    aliases.promote(CHAMPION, "v2", author="anna")
    assert cache.find().version == "v2"
    assert [artifact.version for artifact in versions("churn", store=store)] == ["v3", "v2", "v1"]


def test_bentoml_lists_the_store_as_before(store: Path, aliases: Aliases) -> None:
    aliases.set("challenger", "v1", author="anna")
    command = [str(Path(sys.executable).parent / "bentoml"), "models", "list", "-o", "json"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.count('"tag"') == 3


def test_every_change_is_recorded_with_author_time_and_reason(aliases: Aliases) -> None:
    aliases.promote(CHAMPION, "v1", author="anna", reason="first")
    aliases.promote(CHAMPION, "v3", author="key:ci", reason="a new market", is_forced=True)
    aliases.rollback(CHAMPION, author="bob")
    first, forced, back = aliases.history(CHAMPION)
    assert (first.version, first.action, first.author, first.reason, first.overridden) == (
        "v1", "promote", "anna", "first", "",
    )  # fmt: skip
    assert (forced.version, forced.author, forced.reason) == ("v3", "key:ci", "a new market")
    assert forced.overridden.startswith(
        "its roc_auc is 0.7000, and that of churn:v1 is 0.8000: worse by more than 0.02"
    )
    assert (back.version, back.action, back.author) == ("v1", "rollback", "bob")
    assert first.at <= forced.at <= back.at
    assert first.at.tzinfo is not None


def test_a_rollback_returns_to_the_previous_version_each_time(store: Path, aliases: Aliases) -> None:
    for version in ("v1", "v2", "v3"):
        aliases.set(CHAMPION, version, author="anna")
    assert aliases.rollback(CHAMPION, author="anna").version == "v2"
    assert aliases.rollback(CHAMPION, author="anna").version == "v1"
    with pytest.raises(NotKnown, match="alias 'champion' of 'churn' has no previous version"):
        aliases.rollback(CHAMPION, author="anna")
    aliases.set(CHAMPION, "v3", author="anna")
    assert aliases.rollback(CHAMPION, author="anna").version == named(store) == "v1"


def test_the_same_version_again_is_no_change(aliases: Aliases) -> None:
    first = aliases.promote(CHAMPION, "v1", author="anna")
    assert aliases.promote(CHAMPION, "v1", author="bob") == first
    assert len(aliases.history(CHAMPION)) == 1


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({"auc": 0.7}, "its roc_auc is 0.7000, and that of churn:v1 is 0.8000: worse by more than 0.02"),
        ({"data": replace(DATA, sha256="cd" * 32)}, r"on other data \(churn.csv, SHA-256 cdcdcdcdcdcd\) than churn:v1"),
        ({"data": replace(DATA, sha256="")}, "the card of churn:v4 has no fingerprint of its data"),
        ({"metrics": {}}, "the card of churn:v4 has no metric roc_auc; train it again"),
        ({"metrics": {"f1": 0.9}}, "the card of churn:v1 has no metric f1; train it again"),
        ({"inputs": (Column("other", "number"),)}, "its inputs differ from those of churn:v1"),
        ({"classes": ("no", "maybe")}, "its classes differ from those of churn:v1"),
    ],
)
def test_a_version_that_the_gate_refuses_is_not_promoted_unless_forced(
    store: Path, aliases: Aliases, changes: dict[str, Any], objection: str
) -> None:
    aliases.promote(CHAMPION, "v1", author="anna")
    save_version(store, "v4", **changes)
    with pytest.raises(GateNotMet, match=objection) as refused:
        aliases.promote(CHAMPION, "v4", author="anna")
    assert str(refused.value).endswith("A promotion that is forced, with a reason, overrides this")
    assert named(store) == "v1"
    assert aliases.promote(CHAMPION, "v4", author="anna", is_forced=True, reason="needed").overridden
    assert named(store) == "v4"


def test_the_margin_decides_how_much_worse_a_version_may_be(store: Path, aliases: Aliases) -> None:
    aliases.promote(CHAMPION, "v1", author="anna")
    with pytest.raises(GateNotMet, match="worse by more than 0"):
        aliases.promote(CHAMPION, "v2", author="anna", margin=0.0)
    aliases.promote(CHAMPION, "v2", author="anna", margin=0.01)
    assert named(store) == "v2"


def test_of_a_loss_less_is_better(store: Path) -> None:
    for version, rmse in (("v1", 2.0), ("v2", 1.5), ("v3", 2.5)):
        save_version(store, version, name="prices", metrics={"rmse": rmse})
    prices = Aliases("prices", store=store)
    prices.promote(CHAMPION, "v1", author="anna")
    prices.promote(CHAMPION, "v2", author="anna")
    with pytest.raises(GateNotMet, match=r"its rmse is 2\.5000, and that of prices:v2 is 1\.5000"):
        prices.promote(CHAMPION, "v3", author="anna")


@pytest.mark.parametrize("alias", ["latest", "", "Champion", "../x", "a/b", "-a", "a" * 64, "v1\n", ".hidden"])
def test_a_name_that_is_no_alias_is_refused(store: Path, aliases: Aliases, alias: str) -> None:
    with pytest.raises(InvalidInput, match="is not a valid alias"):
        aliases.set(alias, "v1", author="anna")
    assert not (store / "churn" / ALIASES_FILE).exists()


def test_an_alias_and_a_version_cannot_have_one_name(store: Path, aliases: Aliases) -> None:
    with pytest.raises(InvalidInput, match="'v2' is a version of 'churn'; an alias needs another name"):
        aliases.set("v2", "v1", author="anna")
    aliases.set("champion", "v1", author="anna")
    before = sorted(path.name for path in store.parent.rglob("*"))
    with pytest.raises(ArtifactInvalid, match="'champion' is an alias of artifact 'churn'; choose another version"):
        save_version(store, "champion")
    assert sorted(path.name for path in store.parent.rglob("*")) == before


@pytest.mark.parametrize("alias", ["challenger", CHAMPION])
def test_an_unknown_version_is_refused_with_the_known_ones(store: Path, aliases: Aliases, alias: str) -> None:
    with pytest.raises(ArtifactMissing, match=r"no version 'v9' of artifact 'churn' .* known: v3, v2, v1"):
        aliases.promote(alias, "v9", author="anna")
    aliases.set("challenger", "v1", author="anna")
    with pytest.raises(ArtifactMissing, match=r"no version 'champion' .*; aliases: challenger"):
        aliases.set("other", "champion", author="anna")
    assert aliases.report()[0].version == "v1"


def test_an_unknown_alias_is_refused_with_the_known_ones(aliases: Aliases) -> None:
    aliases.set("challenger", "v1", author="anna")
    for change in (aliases.rollback, aliases.remove):
        with pytest.raises(NotKnown, match="no alias 'champion' of 'churn'; known: challenger"):
            change(CHAMPION, author="anna")
    with pytest.raises(NotKnown, match="no alias 'champion' of 'other'; known: none"):
        Aliases("other").rollback(CHAMPION, author="anna")


def test_a_model_that_is_not_there_gets_no_folder(store: Path) -> None:
    with pytest.raises(ArtifactMissing, match="no version 'v1' of artifact 'other'"):
        Aliases("other").set("challenger", "v1", author="anna")
    assert not (store / "other").exists()


def test_a_removed_alias_is_unknown_and_keeps_its_history(store: Path, aliases: Aliases) -> None:
    aliases.set("challenger", "v1", author="anna")
    aliases.remove("challenger", author="bob", reason="done")
    with pytest.raises(ArtifactMissing, match="no version 'challenger'"):
        named(store, "challenger")
    assert aliases.report() == []
    assert [change.action for change in read_aliases(store / "churn")["challenger"]] == ["set", "remove"]


def test_an_alias_of_a_deleted_version_says_so_and_leaves_nothing_half_done(store: Path, aliases: Aliases) -> None:
    aliases.promote(CHAMPION, "v1", author="anna")
    aliases.set(CHAMPION, "v2", author="anna")
    shutil.rmtree(store / "churn" / "v2")
    message = "alias 'champion' of artifact 'churn' names version 'v2', which is not in the model store; known: v3, v1"
    with pytest.raises(ArtifactMissing, match=message):
        named(store)
    with pytest.raises(ArtifactMissing, match=r"move the alias: python -m models\.store promote churn VERSION"):
        ArtifactCache("churn:champion", code=store).check("tabular-classification")
    (report,) = aliases.report()
    assert report.fault.startswith(message)
    with pytest.raises(GateNotMet, match="it cannot be compared with the present version: no version 'v2'"):
        aliases.promote(CHAMPION, "v3", author="anna")
    aliases.rollback(CHAMPION, author="anna")
    assert named(store) == "v1"
    shutil.rmtree(store / "churn" / "v1")
    with pytest.raises(NotKnown, match="has no previous version"):
        aliases.rollback(CHAMPION, author="anna")


def test_a_rollback_to_a_deleted_version_is_refused(store: Path, aliases: Aliases) -> None:
    for version in ("v1", "v2"):
        aliases.set(CHAMPION, version, author="anna")
    shutil.rmtree(store / "churn" / "v1")
    with pytest.raises(ArtifactMissing, match="no version 'v1'"):
        aliases.rollback(CHAMPION, author="anna")
    assert named(store) == "v2"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"aliases": {"a": [{}]}}',
        b'{"schema": 2}',
        b"\xff",
        b'{"aliases": {"a": [{"version": "../x", "action": "set", "at": "2026-01-01T00:00:00Z", "author": "b"}]}}',
    ],
)
def test_an_unreadable_file_affects_aliases_and_no_version(store: Path, aliases: Aliases, content: bytes) -> None:
    file = store / "churn" / ALIASES_FILE
    file.write_bytes(content)
    for use in (lambda: named(store), aliases.report, lambda: aliases.set("a", "v1", author="anna")):
        with pytest.raises(ArtifactInvalid, match=r"aliases\.json of artifact 'churn' cannot be read: its content is"):
            use()
    assert file.read_bytes() == content
    assert find("churn", store=store).version == "v3"
    assert find("churn:v1", store=store).version == "v1"
    save_version(store, "v4")


def test_concurrent_changes_are_all_recorded(aliases: Aliases, store: Path) -> None:
    def change(number: int) -> None:
        for turn in range(5):
            aliases.set(f"alias-{number}", f"v{turn % 2 + 1}", author=str(number))

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(report.history) for report in aliases.report()] == [5] * 8
    assert {path.name for path in (store / "churn").iterdir()} == {
        "v1", "v2", "v3", "latest", "aliases.json", "aliases.lock",
    }  # fmt: skip


def test_the_oldest_changes_are_dropped(aliases: Aliases) -> None:
    for turn in range(MAX_CHANGES + 3):
        aliases.set("challenger", f"v{turn % 2 + 1}", author="anna")
    assert len(aliases.history("challenger")) == MAX_CHANGES
    assert aliases.rollback("challenger", author="anna").version == "v2"


def test_a_failed_write_changes_nothing(store: Path, aliases: Aliases, monkeypatch: pytest.MonkeyPatch) -> None:
    aliases.set("challenger", "v1", author="anna")
    before = sorted((store / "churn").iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        aliases.set("challenger", "v2", author="anna")
    assert sorted((store / "churn").iterdir()) == before
    assert named(store, "challenger") == "v1"


@pytest.mark.parametrize(("has_store", "version"), [(True, "v2"), (False, "v1")])
def test_in_a_bento_the_alias_of_the_store_counts_else_that_of_the_build(
    store: Path, aliases: Aliases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_store: bool, version: str
) -> None:
    source = tmp_path / "bento" / "src"
    source.mkdir(parents=True)
    # As `bentoml build` writes what `serving.bento.pinned_model` pins.
    entries = "models:\n- tag: other:v1\nservices:\n- models:\n  - tag: churn:v1\n    alias: champion\n"
    (source.parent / "bento.yaml").write_text(entries)
    shutil.copytree(store / "churn" / "v1", source.parent / "models" / "churn" / "v1")
    aliases.set(CHAMPION, "v2", author="anna")
    if not has_store:
        monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "empty"))
    assert locate("churn:champion", code=source).version == version
    with pytest.raises(ArtifactMissing, match="no version 'challenger'"):
        locate("churn:challenger", code=source)
    # An alias may name a version that only the Bento has.
    in_bento = ArtifactCache("churn:champion", code=source)
    in_bento.aliases.set("prod", "v1", author="anna")
    assert in_bento.find("prod").folder == source.parent / "models" / "churn" / "v1"

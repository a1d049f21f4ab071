"""`python -m models.store`: each command, and one line with exit status 2 where it changes nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models.store.__main__ import main
from models.store.artifact_cache import ArtifactCache
from models.store.artifacts import find
from tests.models.store.registry_store import DATA, save_version

ROOT = Path(__file__).parent.parent.parent.parent
COMMANDS = ("alias", "list", "promote", "rollback", "delete", "compare", "export", "import")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOGNAME", "anna")
    store = tmp_path / "home" / "models"
    for version, auc in (("v1", 0.8), ("v2", 0.85), ("v3", 0.7)):
        save_version(store, version, auc=auc)
    return store


def done(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that succeeds, and return what it prints."""
    assert main(arguments) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that is refused, and return its one line."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    return line


def test_the_module_is_a_command_with_help_for_each() -> None:
    command = [sys.executable, "-m", "models.store"]
    run = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(name in run.stdout for name in COMMANDS)
    refused_run = subprocess.run([*command, "compare", "x", "y", "z"], cwd=ROOT, capture_output=True, text=True)
    assert refused_run.returncode == 2
    assert refused_run.stderr.startswith("error: no version 'y' of artifact 'x'")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_refuses_wrong_arguments(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, status in (([command, "--help"], 0), ([command, "--colour"], 2)):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == status
    assert "usage: python -m models.store" in capsys.readouterr().out


def test_a_version_is_promoted_listed_and_rolled_back(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert done(capsys, "promote", "churn", "v1") == "churn: alias 'champion' names v1\n"
    assert done(capsys, "promote", "churn", "latest", "--alias", "challenger", "--author", "ci") == (
        "churn: alias 'challenger' names v3\n"
    )
    done(capsys, "promote", "churn", "v2", "--reason", "better")
    name, header, newest, best, oldest = done(capsys, "list", "churn").splitlines()
    assert (name, header.split("  ")[0], oldest.split()[0]) == ("churn", "version", "v1")
    assert newest.split() == ["v3", "challenger,", "latest", "0.0", "MB", "2026-01-04", "00:00", "roc_auc", "0.7000"]
    assert best.split()[:2] == ["v2", "champion"]
    assert done(capsys, "rollback", "churn") == "churn: alias 'champion' names v1\n"
    history = done(capsys, "alias", "churn", "champion").splitlines()
    assert [line.split("UTC")[1].split() for line in history] == [
        ["promote", "v1", "by", "anna"],
        ["promote", "v2", "by", "anna", "better"],
        ["rollback", "v1", "by", "anna"],
    ]


def test_the_gate_refuses_and_a_forced_promotion_is_recorded(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done(capsys, "promote", "churn", "v1")
    line = refused(capsys, "promote", "churn", "v3")
    assert "its roc_auc is 0.7000, and that of churn:v1 is 0.8000: worse by more than 0.02" in line
    assert find("churn:champion", store=store).version == "v1"
    done(capsys, "promote", "churn", "v3", "--margin", "0.1")
    done(capsys, "rollback", "churn")
    assert "--force needs --reason" in refused(capsys, "promote", "churn", "v3", "--force")
    out = done(capsys, "promote", "churn", "v3", "--force", "--reason", "v1 leaks", "--author", "bob")
    assert "recorded as forced by bob: its roc_auc is 0.7000" in out
    last = done(capsys, "alias", "churn", "champion").splitlines()[-1]
    assert "by bob  v1 leaks; forced: its roc_auc is 0.7000" in last


def test_other_data_is_refused_with_the_remedy(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_version(store, "v4", auc=0.9, data=replace(DATA, sha256="cd" * 32))
    done(capsys, "promote", "churn", "v1")
    line = refused(capsys, "promote", "churn", "v4")
    assert "on other data (churn.csv, SHA-256 cdcdcdcdcdcd)" in line
    assert "train both on the same data" in line


def test_an_alias_is_set_shown_and_removed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert done(capsys, "alias", "churn", "challenger", "v3") == "churn: alias 'challenger' names v3\n"
    done(capsys, "alias", "churn", "challenger", "v2")
    assert "v2" in done(capsys, "alias", "churn", "challenger")
    assert done(capsys, "alias", "churn", "challenger", "--remove") == "churn: alias 'challenger' is removed\n"
    assert "no alias 'challenger' of 'churn'; known: none" in refused(capsys, "alias", "churn", "challenger")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("alias", "churn", "champion", "v1"), "runs the quality gate: python -m models.store promote churn v1"),
        (("alias", "churn", "latest", "v1"), "'latest' is not a valid alias"),
        (("alias", "churn", "v2", "v1"), "'v2' is a version of 'churn'"),
        (("alias", "churn", "challenger", "v9"), "no version 'v9' of artifact 'churn' in the model store; known: v3"),
        (("alias", "other", "challenger", "v1"), "no version 'v1' of artifact 'other'"),
        (("rollback", "churn"), "no alias 'champion' of 'churn'; known: none"),
        (("list", "other"), "no artifact 'other' in the model store; known: churn"),
        (("compare", "churn", "v1", "v9"), "no version 'v9'"),
        (("delete", "churn", "latest"), "no version 'latest'"),
        (("export", "churn", "v9", "x.tar"), "no version 'v9'"),
        (("export", "churn", "v1", "x.zip"), "is no archive that can be written"),
        (("export", "churn", "v1", "/nowhere/x.tar"), "No such file or directory"),
        (("import", "/nowhere/x.tar"), "/nowhere/x.tar: No such file or directory"),
    ],
)
def test_what_is_refused_is_one_line(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    before = sorted(store.rglob("*"))
    assert message in refused(capsys, *arguments)
    assert [path for path in sorted(store.rglob("*")) if path.name != "aliases.lock"] == before


def test_the_list_shows_what_is_served_and_aliases_of_deleted_versions(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done(capsys, "alias", "churn", "challenger", "v2")
    shutil.rmtree(store / "churn" / "v2")
    state = {"models": {"churn": {"version": "v1", "configured": "churn:latest"}}}
    (tmp_path / "deployment.json").write_text(json.dumps(state))
    loaded = ArtifactCache("churn", code=tmp_path).find_verified("v1")
    lines = done(capsys, "list", "--state-folder", str(tmp_path)).splitlines()
    assert lines[2].endswith("roc_auc 0.7000")
    assert lines[3].endswith("roc_auc 0.8000  loaded, pinned by churn")
    assert lines[4].startswith("error: alias 'challenger' of artifact 'churn' names version 'v2', which is not in the")
    assert "a running service has loaded it" in refused(capsys, "delete", "churn", "v1")
    assert "pinned by churn" in refused(capsys, "delete", "churn", "v1", "--state-folder", str(tmp_path))
    del loaded


def test_a_damaged_file_of_aliases_or_state_is_a_line_of_the_list(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deployment.json").write_text("{")
    assert "error: deployment.json" in done(capsys, "list", "--state-folder", str(tmp_path))
    (store / "churn" / "aliases.json").write_text("{")
    assert "error: aliases.json of artifact 'churn' cannot be read" in done(capsys, "list")


def test_an_empty_store_has_no_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    assert done(capsys, "list") == "no models\n"


def test_two_versions_are_compared_side_by_side(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_version(
        store,
        "v4",
        metrics={"roc_auc": 0.9, "latency_ms": 1.5},
        data=replace(DATA, rows=2500),
        params={"seed": 1, "trees": 7},
        slices={"sex=male": {"roc_auc": 0.8}},
    )
    save_version(store, "v5", auc=0.85, params={"seed": 2, "trees": 7}, slices={"sex=male": {"roc_auc": 0.7}})
    lines = [line.split("  ") for line in done(capsys, "compare", "churn", "v4", "v5").splitlines()]
    rows = {cells[0]: [cell.strip() for cell in cells[1:] if cell.strip()] for cells in lines}
    assert rows["rows"] == ["2,500", "100"]
    assert rows["roc_auc"] == ["0.9", "0.85", "-0.05"]
    assert rows["log_loss"] == ["-", "0.15"]
    assert rows["latency_ms"] == ["1.5", "-"]
    assert rows["sex=male roc_auc"] == ["0.8", "0.7", "-0.1"]
    assert rows["param seed"] == ["1", "2"]
    assert rows["data"] == ["churn.csv, SHA-256 abababababab"] * 2
    assert rows["size"] == ["0.0 MB"] * 2
    assert "param trees" not in rows


def test_a_version_moves_to_another_store(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "churn.tar.gz")
    assert "churn:v1 is in " in done(capsys, "export", "churn", "v1", file)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "other"))
    assert done(capsys, "import", file) == "churn:v1 is in the model store\n"
    assert "churn:v1 is already in the model store" in refused(capsys, "import", file)
    assert done(capsys, "delete", "churn", "v1") == "churn:v1 is deleted; it was the last version\n"

"""The desired state survives restarts, concurrent writers, unreadable files and the files of version 0.1."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import orjson
import pytest

from models.errors import ArtifactMissing
from models.watch import failing
from serving.versions.state import DeploymentState, ModelState
from serving.versions.state_file import StateFile
from serving.versions.traffic_split import NO_SPLIT, TrafficSplit

SPLIT = TrafficSplit({"a": 0.9, "b": 0.1}, shadow="c")
FILE = "deployment.json"


def find(version: str) -> None:
    if version == "missing":
        raise ArtifactMissing("no such version")


def write(folder: Path, text: str) -> None:
    (folder / FILE).write_text(text)


def test_another_process_reads_what_one_wrote_and_each_reload_differs(tmp_path: Path) -> None:
    first = DeploymentState(tmp_path).pin("tabular", "v1", configured="tabular:latest")
    other = DeploymentState(tmp_path)
    assert other.model("tabular") == first
    second = DeploymentState(tmp_path).pin("tabular", "v1", configured="tabular:latest")
    assert second.reload_id != first.reload_id
    assert other.model("tabular") == second
    assert sorted(file.name for file in tmp_path.iterdir()) == [FILE, "deployment.lock"]


def test_one_file_holds_every_model_and_a_change_touches_one_part(tmp_path: Path) -> None:
    state = DeploymentState(tmp_path)
    assert state.model("tabular") == ModelState()
    state.pin("tabular", "v1", configured="tabular:latest")
    state.set_split("tabular", SPLIT)
    state.set_split("churn", SPLIT)
    read = DeploymentState(tmp_path).models()
    assert set(read) == {"tabular", "churn"}
    assert (read["tabular"].version, read["tabular"].split) == ("v1", SPLIT)
    assert (read["churn"].version, read["churn"].split) == (None, SPLIT)
    document = orjson.loads((tmp_path / FILE).read_bytes())
    assert (document["schema"], document["revision"]) == (1, 3)


_WRITER = """
import sys
from pathlib import Path
from serving.versions.state import DeploymentState
from serving.versions.traffic_split import TrafficSplit
state = DeploymentState(Path(sys.argv[1]))
for number in range(20):
    state.set_split(f"{sys.argv[2]}-{number}", TrafficSplit({"v1": 1.0}))
"""


def test_concurrent_writers_lose_no_update(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), name]) for name in ("a", "b")]
    state = DeploymentState(tmp_path)
    threads = [
        threading.Thread(target=state.set_split, args=(f"thread-{number}", TrafficSplit({"v1": 1.0})))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert len(state.models()) == 60


def test_a_runner_starts_with_the_pinned_version_while_the_tag_is_the_same(tmp_path: Path) -> None:
    state = DeploymentState(tmp_path)

    def start(configured: str = "tabular:latest") -> str | None:
        return state.start_versions("tabular", configured=configured, find=find).version

    assert start() is None
    state.pin("tabular", "v1", configured="tabular:latest")
    assert start() == "v1"
    assert start("tabular:v7") is None
    state.pin("tabular", None, configured="tabular:latest")
    assert start() is None


def test_a_runner_starts_without_versions_that_are_not_usable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = DeploymentState(tmp_path)
    state.pin("tabular", "missing", configured="tabular:latest")
    state.set_split("tabular", TrafficSplit({"a": 1.0, "missing": 0.0}))
    start = state.start_versions("tabular", configured="tabular:latest", find=find)
    assert (start.version, start.held) == (None, ("a",))
    assert "the pin is not usable: no such version" in caplog.text
    assert "version missing of tabular is not loaded: no such version" in caplog.text


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "\x00", "{}", '{"schema": 2, "models": {}}', '{"schema": 1, "models": []}'],
)
def test_an_unreadable_file_leaves_the_last_state_and_is_logged_once(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = DeploymentState(tmp_path)
    state.set_split("m", SPLIT)
    write(tmp_path, text)
    assert state.model("m").split == SPLIT
    assert state.model("m").split == SPLIT
    assert caplog.text.count("cannot read deployment.json, the last known state applies") == 1
    assert set(failing()) == {"deployment_state"}
    assert DeploymentState(tmp_path).model("m").split == NO_SPLIT

    state.pin("m", "v1", configured="m")
    assert (tmp_path / "deployment.unreadable.json").read_text() == text
    assert DeploymentState(tmp_path).model("m").split == SPLIT


@pytest.mark.parametrize("entry", ["7", '{"weights": {"a": "x"}}', '{"weights": {"a": 2}}', '{"weights": []}'])
def test_an_entry_that_is_not_valid_leaves_the_others(
    entry: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, f'{{"schema": 1, "models": {{"bad": {entry}, "good": {{"weights": {{"a": 1}}}}}}}}')
    models = DeploymentState(tmp_path).models()
    assert (models["bad"], models["good"].split) == (ModelState(), TrafficSplit({"a": 1.0}))
    assert "the state of bad is not valid" in caplog.text


def test_a_change_that_cannot_be_written_applies_to_this_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    state = DeploymentState(tmp_path / "file" / "state")
    state.pin("m", "v1", configured="m:latest")
    state.set_split("m", SPLIT)
    assert (state.model("m").version, state.model("m").split) == ("v1", SPLIT)
    assert state.last("m") == state.model("m")
    assert "lost at the next restart" in caplog.text


def test_an_unsaved_change_is_saved_with_the_next_one(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.write_text("")
    state = DeploymentState(folder)
    state.pin("m", "v1", configured="m:latest")
    folder.unlink()
    state.set_split("m", SPLIT)
    saved = DeploymentState(folder).model("m")
    assert (saved.version, saved.split) == ("v1", SPLIT)


def first_edition(folder: Path) -> None:
    for name, documents in (
        ("pins", {"m": {"version": "v1", "configured": "m:latest", "serial": "1"}, "bad": []}),
        ("traffic", {"m": {"weights": {"a": 0.9, "b": 0.1}, "shadow": "c", "serial": "2"}}),
    ):
        (folder / name).mkdir()
        for model, document in documents.items():
            (folder / name / f"{model}.json").write_bytes(orjson.dumps(document))
    (folder / "traffic" / "cut.json").write_text("{")


def test_the_files_of_the_first_edition_count_until_the_first_change_includes_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first_edition(tmp_path)
    state = DeploymentState(tmp_path)
    assert state.models() == {"m": ModelState("v1", "m:latest", "1", SPLIT)}
    assert "bad.json is not an object" in caplog.text
    assert "cut.json cannot be read" in caplog.text

    state.set_split("other", SPLIT)
    assert DeploymentState(tmp_path).models() == {
        "m": ModelState("v1", "m:latest", "1", SPLIT), "other": ModelState(split=SPLIT),
    }  # fmt: skip
    assert sorted(file.name for file in tmp_path.iterdir()) == [FILE, "deployment.lock"]


def test_a_file_that_is_removed_keeps_the_last_state_until_the_next_change_writes_it(tmp_path: Path) -> None:
    state = DeploymentState(tmp_path)
    pinned = state.pin("tabular", "v1", configured="tabular:latest")
    (tmp_path / FILE).unlink()

    assert state.model("tabular") == pinned
    assert "deployment_state" in failing()
    state.set_split("churn", SPLIT)
    assert DeploymentState(tmp_path).model("tabular") == pinned
    assert state.model("churn").split == SPLIT
    assert "deployment_state" not in failing()


def test_a_lock_file_that_is_removed_excludes_other_writers_all_the_same(tmp_path: Path) -> None:
    file, order = StateFile(tmp_path), []

    def wait() -> None:
        with file.locked():
            order.append("second")

    with file.locked():
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.1)
        (tmp_path / "deployment.lock").unlink()
    # The thread held the removed file; now it needs the new one.
    with StateFile(tmp_path).locked():
        order.append("third")
    thread.join(30)

    assert sorted(order) == ["second", "third"]
    assert not thread.is_alive()

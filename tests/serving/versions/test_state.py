"""What was asked for is kept, whole, and forgotten with the tag that it was asked of."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ArtifactMissing
from serving.versions.state import Pins


def there(version: str) -> None:
    if version == "gone":
        raise ArtifactMissing("no such version")


def test_a_pin_is_read_by_another_process_and_each_asking_differs(tmp_path: Path) -> None:
    first = Pins(tmp_path).write("tabular", "v1", configured="tabular:latest")
    read = Pins(tmp_path).read("tabular")
    second = Pins(tmp_path).write("tabular", "v1", configured="tabular:latest")

    assert first == read
    assert first is not None
    assert second is not None
    assert first.serial != second.serial
    assert [file.name for file in tmp_path.iterdir()] == ["tabular.json"]


def test_a_start_takes_the_pinned_version_while_the_tag_is_the_same(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    assert pins.version("tabular:latest", there) is None
    pins.write("tabular", "v1", configured="tabular:latest")

    assert pins.version("tabular:latest", there) == "v1"
    assert pins.version("tabular:v7", there) is None
    pins.write("tabular", None, configured="tabular:latest")
    assert pins.version("tabular:latest", there) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 3}', "null"])
def test_a_pin_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "tabular.json").write_text(text)
    assert Pins(tmp_path).read("tabular") is None


def test_a_pinned_version_that_is_gone_leaves_the_configured_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pins = Pins(tmp_path)
    pins.write("tabular", "gone", configured="tabular:latest")

    assert pins.version("tabular:latest", there) is None
    assert "not usable: no such version" in caplog.text


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert Pins(tmp_path / "file").write("tabular", "v1", configured="tabular:latest") is None
    assert "forgotten at the next start" in caplog.text

"""Items from a folder of the host, where a setting allows the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InvalidInput
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.task import DecodeLimits, DecodeTask
from serving.jobs.storage.item_file import read_items
from tests.serving.jobs.job_fixtures import FILES


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """An allowed folder of images, and a private folder."""
    for name in ("images/b/1.png", "images/a.png", "private/secret.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "private" / "secret.png")
    (tmp_path / "images" / "out").symlink_to(tmp_path / "private")
    (tmp_path / "job").mkdir()
    return tmp_path


def test_a_folder_has_its_files_without_links(folders: Path) -> None:
    task = DecodeTask(
        FILES, "", folders / "job", DecodeLimits(), source=f"{folders}/images", roots=(str(folders / "images"),)
    )
    assert decode(task).total == 2

    contents = {item.head["name"]: item.body for item in read_items(folders / "job", 0, 9)}
    assert contents == {"a.png": b"images/a.png", "b/1.png": b"images/b/1.png"}


@pytest.mark.parametrize("source", ["private", "images/../private", "images/out", "images/none", "images/a.png", ""])
def test_a_folder_that_is_not_allowed_is_refused_as_if_it_did_not_exist(folders: Path, source: str) -> None:
    task = DecodeTask(
        FILES, "", folders / "job", DecodeLimits(), source=f"{folders}/{source}", roots=(f"{folders}/images",)
    )
    with pytest.raises(InvalidInput, match="no such folder among those that may be read"):
        decode(task)

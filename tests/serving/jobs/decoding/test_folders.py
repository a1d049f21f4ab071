"""A folder of images on the host becomes items, if it is one that may be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InvalidInput
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.task import DecodeLimits, DecodeTask
from serving.jobs.storage.item_file import read_items


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder of images beside one that is nobody's business."""
    for name in ("images/b/1.png", "images/a.png", "private/secret.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "private" / "secret.png")
    (tmp_path / "images" / "out").symlink_to(tmp_path / "private")
    (tmp_path / "job").mkdir()
    return tmp_path


def test_a_folder_has_its_files_and_no_links(shelf: Path) -> None:
    asked = DecodeTask(
        "images", "", shelf / "job", DecodeLimits(), source=f"{shelf}/images", roots=(str(shelf / "images"),)
    )
    assert decode(asked).total == 2

    found = {item.head["name"]: item.body for item in read_items(shelf / "job", 0, 9)}
    assert found == {"a.png": b"images/a.png", "b/1.png": b"images/b/1.png"}


@pytest.mark.parametrize("source", ["private", "images/../private", "images/out", "images/none", "images/a.png", ""])
def test_a_folder_that_is_not_allowed_is_as_if_it_were_not_there(shelf: Path, source: str) -> None:
    asked = DecodeTask(
        "images", "", shelf / "job", DecodeLimits(), source=f"{shelf}/{source}", roots=(f"{shelf}/images",)
    )
    with pytest.raises(InvalidInput, match="no such folder among those that may be read"):
        decode(asked)

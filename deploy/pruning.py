"""Removes from installed packages what a list of patterns names: `python pruning.py SITE_PACKAGES LIST`.

Runs in the build of the image, and on the copy of its environment that the tests serve from. Standard library only;
knows no package: `container/left-out.txt` says which files, and why.
"""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path


class NothingMatches(ValueError):
    """A pattern of the list names no file: the package has changed, and the list has to follow."""


def read_patterns(path: Path) -> list[str]:
    """The patterns of a list: its lines without comments and empty ones."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def prune(folder: Path, patterns: Iterable[str]) -> int:
    """Remove what matches one of `patterns` under `folder`; returns how many bytes that was.

    Raises NothingMatches, before anything is removed.
    """
    found = {pattern: list(folder.glob(pattern)) for pattern in patterns}
    unmatched = [pattern for pattern, paths in found.items() if not paths]
    if unmatched:
        raise NothingMatches(f"nothing in {folder.name} matches {', '.join(unmatched)}; mend the list")
    removed = 0
    for path in (path for paths in found.values() for path in paths):
        if path.is_dir():
            removed += sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
            shutil.rmtree(path)
        elif path.exists():
            removed += path.stat().st_size
            path.unlink()
    return removed


if __name__ == "__main__":
    try:
        size = prune(Path(sys.argv[1]), read_patterns(Path(sys.argv[2])))
    except NothingMatches as error:
        sys.exit(f"error: {error}")
    print(f"{size / 1e6:.0f} MB left out")

"""Remove the files that a list of patterns names from installed packages: `python pruning.py SITE_PACKAGES LIST`.

The build of the image runs it, and the tests on a copy of the image's environment. Standard library only. The list,
`container/left-out.txt`, gives the reason for each group of files.
"""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path


class NothingMatches(ValueError):
    """A pattern of the list matches no file, because its package has changed."""


def read_patterns(path: Path) -> list[str]:
    """Return the patterns of a list: its lines without comments and empty lines."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def prune(folder: Path, patterns: Iterable[str]) -> int:
    """Remove the files and folders under `folder` that match one of `patterns`; return their size in bytes.

    Raises NothingMatches, before it removes any file, when a pattern matches nothing.
    """
    matches = {pattern: list(folder.glob(pattern)) for pattern in patterns}
    unmatched = [pattern for pattern, paths in matches.items() if not paths]
    if unmatched:
        raise NothingMatches(f"no file in {folder.name} matches {', '.join(unmatched)}; correct the list")
    removed = 0
    for path in (path for paths in matches.values() for path in paths):
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
    print(f"{size / 1e6:.0f} MB removed")

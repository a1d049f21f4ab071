"""Nothing outside a kind's own folders names a kind: a new one is its folders and one line of the registry.

Held by reading the source. Generic words such as a container image or a table of errors are no names of kinds; what
counts are imports of a kind's modules, and the names that a kind has in its registry entry.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.kinds.registry import KINDS

ROOT = Path(__file__).parent.parent
REGISTRY = ROOT / "serving" / "kinds" / "registry.py"
# The folders of kinds.
FOLDERS = {
    folder.name
    for folder in (ROOT / "serving" / "kinds").iterdir()
    if folder.is_dir() and (folder / "__init__.py").exists()
}
# Words that the code uses without meaning a kind.
ORDINARY_WORDS = {"text"}
# Names of modules, classes, functions and texts that tell a kind: of its folder, its registry entry, its tasks.
NAMES = FOLDERS | {each for kind in KINDS for each in (kind.name, kind.alias, kind.runner, *kind.tasks)}
NAMES -= ORDINARY_WORDS


def generic_sources() -> list[Path]:
    """The files of `serving` that belong to no kind."""
    own = tuple(ROOT / "serving" / "kinds" / folder for folder in FOLDERS)
    files = sorted((ROOT / "serving").rglob("*.py"))
    return [path for path in files if path != REGISTRY and not any(path.is_relative_to(folder) for folder in own)]


def imports_of_kinds(path: Path) -> Iterator[str]:
    """The imports of a kind's modules in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if re.match(rf"(serving\.kinds|models|training)\.({'|'.join(FOLDERS)})(\.|$)", name):
                yield f"{path.relative_to(ROOT)}:{node.lineno} imports {name}"


def names_of_kinds(path: Path) -> Iterator[str]:
    """The identifiers and texts of a file that are the name of a kind."""
    for node in ast.walk(ast.parse(path.read_text())):
        identifiers: list[str] = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            identifiers = [node.value]
        elif isinstance(node, ast.Name):
            identifiers = [node.id]
        elif isinstance(node, ast.Attribute):
            identifiers = [node.attr]
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            identifiers = [node.arg]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            identifiers = [node.name]
        for name in identifiers:
            if name in NAMES:
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)} names {name!r}"


@pytest.mark.parametrize("check", [imports_of_kinds, names_of_kinds])
def test_no_module_outside_a_kind_names_a_kind(check: object) -> None:
    assert callable(check)
    assert [place for path in generic_sources() for place in check(path)] == []


def test_the_reading_of_the_source_finds_them() -> None:
    kind = ROOT / "serving" / "kinds" / KINDS[0].alias / "kind.py"
    assert any(KINDS[0].name in place for place in names_of_kinds(kind))
    assert list(imports_of_kinds(kind))


def test_no_two_kinds_share_a_name() -> None:
    for names in ([kind.name for kind in KINDS], [kind.alias for kind in KINDS], [kind.runner for kind in KINDS]):
        assert len(set(names)) == len(names)

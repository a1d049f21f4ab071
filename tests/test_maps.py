"""Tests that the package docstrings, which list the modules, are complete."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("package", ["deploy", "benchmarks"])
def test_package_docstring_lists_every_module(package: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text())) or ""
    modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__", "__main__"}
    assert modules - set(re.findall(r"\w+", docstring)) == set()

"""Imports go downward only, and importing a module is free. Held by reading the source, not by importing it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("models", "training", "serving", "benchmarks", "service")

# Who may import what of ours. `None` stands for "all of it".
ALLOWED: dict[str, dict[str, tuple[str, ...] | None]] = {
    "models": {"models": None},
    "training": {"training": None, "models": None},
    "serving": {"serving": None, "models": ("errors", "profile", "card", "write_ahead")},
    "benchmarks": {"benchmarks": None},
    "service": {"models": None, "serving": None},
}
# Only these may import a heavy runtime at all, and never at the top of the module outside training.
HEAVY = ("torch", "torchvision", "sklearn", "lightfm", "implicit", "skl2onnx", "pandas", "pyarrow", "nncf")
# Networks are classes of torch. What serves imports these files inside functions, where a GPU asks for them.
TORCH_ONLY = ("models/image/networks.py", "models/image/torch_runtime.py")
UNPICKLERS = ("pickle", "joblib", "cloudpickle", "dill", "marshal", "shelve")


def sources(tree: str) -> list[Path]:
    return [ROOT / "service.py"] if tree == "service" else sorted((ROOT / tree).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Every imported module of a file as (dotted name, line, whether at the top level of the module)."""
    module = ast.parse(path.read_text())
    top = {id(node) for node in module.body}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno, id(node) in top


def is_allowed(tree: str, name: str) -> bool:
    top, _, rest = name.partition(".")
    if top not in OURS:
        return True
    if top not in ALLOWED[tree]:
        return False
    parts = ALLOWED[tree][top]
    return parts is None or rest.split(".")[0] in parts


@pytest.mark.parametrize("tree", OURS)
def test_imports_go_downward_only(tree: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(tree)
        for name, line, _ in imports(path)
        if not is_allowed(tree, name)
    ]
    assert not wrong


@pytest.mark.parametrize("tree", ["models", "serving", "service"])
def test_what_serves_imports_no_training_library_at_the_top_of_a_module(tree: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(tree)
        for name, line, is_top in imports(path)
        if is_top and name.split(".")[0] in HEAVY and path.relative_to(ROOT).as_posix() not in TORCH_ONLY
    ]
    assert not wrong


def test_what_serves_imports_networks_inside_functions_alone() -> None:
    modules = tuple(file.removesuffix(".py").replace("/", ".") for file in TORCH_ONLY)
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for tree in ("models", "serving", "service")
        for path in sources(tree)
        if path.relative_to(ROOT).as_posix() not in TORCH_ONLY
        for name, line, is_top in imports(path)
        if is_top and name.startswith(modules)
    ]
    assert not wrong


@pytest.mark.parametrize("tree", ["models", "serving", "service"])
def test_what_serves_imports_nothing_that_unpickles(tree: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(tree)
        for name, line, _ in imports(path)
        if name.split(".")[0] in UNPICKLERS
    ]
    assert not wrong


def test_importing_the_service_starts_nothing_and_loads_no_training_library() -> None:
    code = (
        "import sys, threading, service\n"
        f"heavy = sorted(set(sys.modules) & set({(*HEAVY, 'openvino', 'onnxruntime')!r}))\n"
        "print(heavy, threading.active_count())"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[-2] == "[] 1"

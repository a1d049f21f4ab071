"""The structure of the source: packages import downward only, without cycles, and importing a module is free.

Held by reading the source, not by importing it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TREES = ("models", "training", "serving", "benchmarks", "service")

# The packages of `serving`, from the ground up. Each imports only what stands before it.
SERVING = (
    "version",
    "asgi",
    "header_fields",
    "concurrency",
    "context",
    "redis_client",
    "settings",
    "process",
    "errors",
    "shared_limit",
    "schemas",
    "observability",
    "runners",
    "versions",
    "access",
    "http",
    "open_inference",
    "jobs",
    "kinds",
    "server",
    "routes",
    "app",
    "testing",
    "bento",
)
# Entry points of commands: they may import whatever they start.
COMMANDS = ("__main__", "keys")
# The packages of `models`: the modules at the top, then what is built on them.
MODELS = (
    "errors",
    "user_code",
    "steps",
    "watch",
    "private_files",
    "profile",
    "card",
    "limits",
    "tables",
    "adaptive_choice",
    "cores",
    "blas",
    "write_ahead_log",
    "database_files",
    "onnx_session",
    "trees",
    "onnx_writer",
    "store",
    "base",
)
MODEL_KINDS = ("image", "tabular", "recommender", "text", "python")

# Who may import what of ours.
ALLOWED = {
    "models": ("models",),
    "training": ("training", "models"),
    "serving": ("serving", "models"),
    "benchmarks": ("benchmarks",),
    "service": ("models", "serving"),
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


def package_of(path: Path) -> str:
    """The package or top module below the tree that a file belongs to."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] == "__main__":
        return parts[-1]
    return parts[1] if len(parts) > 1 else parts[0]


def edges(tree: str) -> Iterator[tuple[str, str, str]]:
    """Each import between packages of one tree as (importer, imported, place)."""
    for path in sources(tree):
        importer = package_of(path)
        for name, line, _ in imports(path):
            parts = name.split(".")
            if parts[0] == tree and len(parts) > 1 and parts[1] != importer:
                yield importer, parts[1], f"{path.relative_to(ROOT)}:{line} imports {name}"


@pytest.mark.parametrize("tree", TREES)
def test_trees_import_downward_only(tree: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(tree)
        for name, line, _ in imports(path)
        if name.split(".")[0] in TREES and name.split(".")[0] not in ALLOWED[tree]
    ]
    assert not wrong


def test_every_package_of_serving_is_in_the_order() -> None:
    present = {package_of(path) for path in sources("serving")} - {"__init__", *COMMANDS}
    assert present == set(SERVING)


def test_packages_of_serving_import_what_stands_before_them_only() -> None:
    wrong = [
        place
        for importer, imported, place in edges("serving")
        if importer not in ("__init__", *COMMANDS) and SERVING.index(imported) >= SERVING.index(importer)
    ]
    assert not wrong


def test_packages_of_models_import_what_stands_before_them_only() -> None:
    order = {name: level for level, name in enumerate(MODELS)} | dict.fromkeys(MODEL_KINDS, len(MODELS))
    wrong = [
        place
        for importer, imported, place in edges("models")
        if importer not in ("__init__", *COMMANDS) and order[imported] >= order[importer]
    ]
    assert not wrong


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    """A cycle of `graph`, empty where there is none."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return path[path.index(node) :]
        if node in done:
            return []
        for following in sorted(graph.get(node, ())):
            if cycle := visit(following, [*path, node]):
                return cycle
        done.add(node)
        return []

    return next((cycle for node in sorted(graph) if (cycle := visit(node, []))), [])


@pytest.mark.parametrize("tree", ["models", "training", "serving"])
def test_no_module_imports_itself_through_others(tree: str) -> None:
    modules = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in sources(tree)}
    graph: dict[str, set[str]] = {}
    for path in sources(tree):
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for name in runtime_imports(path):
            target = name if name in modules else name.rpartition(".")[0]
            if target in modules and target != module:
                graph.setdefault(module, set()).add(target)
    assert cycle_in(graph) == []


def runtime_imports(path: Path) -> Iterator[str]:
    """The imports of a file that run when it is imported: not those inside functions, nor those for types alone."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.slow
@pytest.mark.parametrize("tree", ["models", "serving", "service"])
def test_what_serves_imports_no_training_library_at_the_top_of_a_module(tree: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(tree)
        for name, line, is_top in imports(path)
        if is_top and name.split(".")[0] in HEAVY and path.relative_to(ROOT).as_posix() not in TORCH_ONLY
    ]
    assert not wrong


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("tree", ["models", "serving", "service"])
def test_what_serves_imports_nothing_that_unpickles(tree: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(tree)
        for name, line, _ in imports(path)
        if name.split(".")[0] in UNPICKLERS
    ]
    assert not wrong


@pytest.mark.slow
def test_importing_the_service_starts_nothing_and_loads_no_training_library() -> None:
    code = (
        "import sys, threading, service\n"
        f"heavy = sorted(set(sys.modules) & set({(*HEAVY, 'openvino', 'onnxruntime')!r}))\n"
        "print(heavy, threading.active_count())"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[-2] == "[] 1"

"""The import order of the benchmark. The test reads the source and does not import it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = "benchmarks"
# Lowest level first. A module imports only modules of lower levels, also inside functions.
LEVELS = (
    (
        "artifacts",
        "container",
        "http_request",
        "images",
        "machine",
        "options",
        "peers.workloads.base",
        "plots",
        "servers",
        "statistics",
        "timerfd",
    ),
    (
        "closed_loop",
        "environments",
        "open_loop",
        "peers.workloads.image",
        "peers.workloads.overhead",
        "peers.workloads.recommender",
        "peers.workloads.tabular",
        "results",
        "scenarios",
        "validation",
    ),
    ("cases", "peers.bare_loop", "peers.workloads.loader", "thresholds"),
    (
        "payloads",
        "peers.bentoml_stock.service",
        "peers.fastapi.server",
        "peers.fastapi.train_baseline",
        "peers.litserve.server",
        "peers.mlserver.runtime",
        "peers.mlserver.start",
        "peers.mosec.server",
        "peers.rayserve.server",
        "report_tables",
    ),
    ("report", "targets"),
    ("hardware_limit", "rounds", "selection"),
    ("cold_start", "memory_growth", "open_loop_scenarios", "sweeps"),
    ("running",),
    ("__main__",),
)
LEVEL = {f"{PACKAGE}.{name}": number for number, names in enumerate(LEVELS) for name in names}


def modules() -> dict[str, Path]:
    """Return all files of the benchmark by module name; a package has the name of its folder."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / PACKAGE).rglob("*.py"))
    }


def imported(path: Path, names: set[str]) -> Iterator[str]:
    """Yield the modules of the benchmark that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module.split(".")[0] in ("", PACKAGE):
                for alias in node.names:
                    full = f"{module}.{alias.name}"
                    yield full if full in names else module


def test_every_module_is_listed_once() -> None:
    listed = [name for names in LEVELS for name in names]
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    assert len(listed) == len(set(listed))
    assert {f"{PACKAGE}.{name}" for name in listed} == set(modules()) - packages


def test_packages_import_nothing() -> None:
    files = modules()
    assert not {name for name, path in files.items() if name not in LEVEL and set(imported(path, set(files)))}


def test_modules_import_only_lower_levels() -> None:
    files = modules()
    wrong = [
        f"{name} imports {other}"
        for name, level in LEVEL.items()
        for other in imported(files[name], set(files))
        if LEVEL.get(other, level) >= level
    ]
    assert not wrong

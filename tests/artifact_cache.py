"""Cache of the models that tests train. An entry is trained again only when what its training imports changes."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from training.packages import cache_folder

ROOT = Path(__file__).parent.parent


def imports_key(*modules: str, also: str = "") -> str:
    """Return a hash of these modules, of the project's modules that they import, of the lock, and of `also`.

    Imports inside functions count, and so do those of imported modules. Comments and docstrings do not: an edit of them
    does not train a model again. `also` is for the options of the command.
    """
    digest = hashlib.sha256(also.encode() + _content(ROOT / "requirements.lock"))
    for path in sorted(_imported(modules)):
        digest.update(path.relative_to(ROOT).as_posix().encode() + _content(path))
    return digest.hexdigest()[:16]


def _imported(modules: Sequence[str]) -> set[Path]:
    """Return the files of these modules of the project, and of everything that they import."""
    files: set[Path] = set()
    waiting = set(modules)
    seen: set[str] = set()
    while waiting:
        seen.add(name := waiting.pop())
        path = ROOT / name.replace(".", "/")
        found = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
        files.update(found)
        waiting |= {each for file in found for each in _imports_of(file)} - seen
    return files


@functools.cache
def _imports_of(path: Path) -> frozenset[str]:
    """Return the names that a file imports, and the packages that contain them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A name is a module or is defined in one.
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(".".join(name.split(".")[:end]) for name in names for end in range(1, name.count(".") + 2))


@functools.cache
def _content(path: Path) -> bytes:
    if path.suffix != ".py":
        return path.read_bytes()
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                del node.body[0]
    return ast.dump(tree).encode()


def cached_store(name: str, key: str, train: Callable[[Path], object]) -> Path:
    """Return the model store of `key`, whose parent is a BENTOML_HOME. `train` receives the store to save into."""
    return _cached(name, key, lambda home: train(home / "models")) / "models"


def cached_home(name: str, key: str, *command: str, stores: Sequence[Path] = ()) -> Path:
    """Return a BENTOML_HOME whose store holds the models of `stores` and what `python -m COMMAND` trains."""

    def train(home: Path) -> None:
        for store in stores:
            shutil.copytree(store, home / "models", dirs_exist_ok=True)
        environment = {**os.environ, "BENTOML_HOME": str(home)}
        subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment, check=True)

    return _cached(name, key, train)


def _cached(name: str, key: str, fill: Callable[[Path], object]) -> Path:
    """Return the folder of `key`. Call `fill` with an empty folder first when it does not exist yet."""
    folder = cache_folder() / "test-artifacts" / f"{name}-{key}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(f"{name}-{key}"):
        if not folder.is_dir():
            # An interrupted run leaves no incomplete entry: the folder gets its name when it is complete.
            scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
            started = time.perf_counter()
            sys.stderr.write(f"\n> train '{name}' for the tests; later runs use it\n")
            try:
                fill(scratch)
                scratch.rename(folder)
                sys.stderr.write(f"= '{name}' in {time.perf_counter() - started:.0f} s\n")
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return folder


@contextlib.contextmanager
def _lock(name: str) -> Iterator[None]:
    """Hold the lock of `name` among all processes. The system releases it when a process ends."""
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

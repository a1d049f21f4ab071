"""Cache of the models that tests train. An entry is trained again only when its sources or options change."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from training.packages import cache_folder

ROOT = Path(__file__).parent.parent


def sources_key(*patterns: str, also: str = "") -> str:
    """Return a hash of the project's files that match `patterns`, and of `also`, the options of the command.

    Comments and docstrings do not count: an edit of them does not train a model again.
    """
    digest = hashlib.sha256(also.encode())
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.relative_to(ROOT).as_posix().encode() + _content(path))
    return digest.hexdigest()[:16]


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
            try:
                fill(scratch)
                scratch.rename(folder)
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

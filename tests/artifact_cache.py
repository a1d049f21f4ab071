"""A cache of the models that tests train. An entry is valid until the sources that train it change."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from training.packages import cache_folder

ROOT = Path(__file__).parent.parent


def sources_key(*patterns: str, also: str = "") -> str:
    """Return a hash of the project's files that match `patterns`, and of `also`, the options of the command.

    Comments and docstrings are ignored, so that editing them does not invalidate the cache.
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
    """Return a model store, a folder in a BENTOML_HOME. `train` saves into it if it is not in the cache."""
    return _cached(name, key, lambda home: train(home / "models")) / "models"


def cached_home(name: str, key: str, *command: str) -> Path:
    """Return a BENTOML_HOME with the models that `python -m COMMAND` trains."""

    def train(home: Path) -> None:
        environment = {**os.environ, "BENTOML_HOME": str(home)}
        subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment, check=True)

    return _cached(name, key, train)


def _cached(name: str, key: str, train: Callable[[Path], object]) -> Path:
    """Return the folder of `key`. `train` fills it if it does not exist."""
    folder = cache_folder() / "test-artifacts" / f"{name}-{key}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A rename at the end: an interrupt leaves no incomplete folder, and concurrent runs do not mix their files.
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
        try:
            train(scratch)
            _publish(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _publish(scratch: Path, folder: Path) -> None:
    try:
        scratch.rename(folder)
    except OSError:
        # A concurrent run has published an equal folder.
        if not folder.is_dir():
            raise

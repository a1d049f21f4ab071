"""What tests train is kept in the cache until what it is made by changes. Knows folders and commands, no model."""

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

    Comments and docstrings do not count: an edit of them trains nothing again.
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


def kept_store(name: str, key: str, train: Callable[[Path], object]) -> Path:
    """A model store (a folder, its parent a BENTOML_HOME). `train` is given the store to save into."""
    return _kept(name, key, lambda home: train(home / "models")) / "models"


def kept_home(name: str, key: str, *command: str) -> Path:
    """A BENTOML_HOME whose store holds what `python -m COMMAND` trains."""

    def train(home: Path) -> None:
        environment = {**os.environ, "BENTOML_HOME": str(home)}
        subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment, check=True)

    return _kept(name, key, train)


def _kept(name: str, key: str, make: Callable[[Path], object]) -> Path:
    """The folder of `key`; `make` fills it when it is not there yet."""
    kept = cache_folder() / "test-artifacts" / f"{name}-{key}"
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Made aside and renamed, so that an interrupt leaves nothing half made and two runs do not meet.
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=kept.parent))
        try:
            make(scratch)
            _settle(scratch, kept)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return kept


def _settle(scratch: Path, kept: Path) -> None:
    try:
        scratch.rename(kept)
    except OSError:
        # Another run was faster: what it made is as good.
        if not kept.is_dir():
            raise

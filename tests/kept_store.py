"""A store that is trained once and kept until its key changes. Knows folders, no model."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from training.packages import cache_folder


def kept_store(name: str, key: str, train: Callable[[Path], object]) -> Path:
    """A model store (a folder) that holds the artifact `name`; `train` is given the store to save into."""
    kept = cache_folder() / "test-artifacts" / f"{name}-{key}"
    if not (kept / name).is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Made aside and renamed, so that an interrupt leaves no half store and two runs do not meet.
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=kept.parent))
        try:
            train(scratch / "models")
            if not kept.is_dir():
                os.rename(scratch / "models", kept)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return kept

"""Train the default models that the model store lacks, or that an older recipe made: `python -m training`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.store.artifacts import find, versions
from training.command import option, run
from training.recipes import Recipe, default_recipes
from training.report import console


@dataclass(frozen=True)
class Params:
    """Options of `python -m training`."""

    force: bool = option(False, "train all of them, even if the store holds current ones")


def main(params: Params) -> None:
    """Train each default model that is missing or out of date. Exit with the status of the first script that fails.

    With a model list these are the ones that it names.
    """
    listed = _listed()
    for kind, recipe in default_recipes().items():
        if listed is not None and kind not in listed:
            continue
        if params.force or not _is_current(kind, recipe):
            _train(kind, recipe.options())


def _listed() -> set[str] | None:
    """Return the names of the artifacts in the model list; None without one, or where the service will refuse it."""
    file = Path(os.environ.get("MAKUNOUCHI_MODELS_FILE") or "models.toml")
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    entries = [table for table in tables.values() if isinstance(table, dict)]
    return {str(entry.get("artifact", "")).partition(":")[0] for entry in entries}


def _is_current(kind: str, recipe: Recipe) -> bool:
    if not versions(kind):
        return False
    saved = find(kind)
    if recipe.is_outdated(saved.card):
        console.print(f"= {saved.tag} was made by an older recipe")
        return False
    console.print(f"= {saved.tag} is in the store")
    return True


def _train(kind: str, options: Sequence[str]) -> None:
    """Run the kind's training script in its own process, which returns the memory of its libraries when it ends."""
    started = time.perf_counter()
    console.print(f"[bold]> train {kind}[/bold]")
    # A default model replaces that of an older recipe, whatever its classes and inputs were.
    command = [sys.executable, "-m", f"training.{kind}", "--promote", *options]
    status = subprocess.run(command, check=False).returncode  # noqa: S603  (scripts of this package)
    if status:
        sys.exit(status)
    console.print(f"[bold]= {kind} trained in {time.perf_counter() - started:.0f} s[/bold]")


if __name__ == "__main__":
    run(main, Params, description="Train the default models that the model store lacks.")

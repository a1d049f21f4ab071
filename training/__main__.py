"""Train the default models that the model store lacks, or has of an older recipe: `python -m training`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from models.store.artifacts import versions
from training.command import option, run
from training.recipes import is_outdated
from training.report import console

SCRIPTS = ("image", "tabular", "recommender")


@dataclass(frozen=True)
class Params:
    """Options of `python -m training`."""

    force: bool = option(False, "train all of them, whatever the store holds")


def main(params: Params) -> None:
    """Run each training script whose artifact is missing or outdated, one after the other, in a process each."""
    for name in SCRIPTS:
        saved = versions(name)
        if saved and not params.force:
            if not is_outdated(name, saved[0].card):
                console.print(f"= {saved[0].tag} is in the store")
                continue
            console.print(f"= {saved[0].tag} is of an older recipe")
        started = time.perf_counter()
        console.print(f"[bold]> train {name}[/bold]")
        # A process each: what torch holds is given back before the next one begins.
        command = [sys.executable, "-m", f"training.{name}", *_more(name)]
        code = subprocess.run(command, check=False).returncode  # noqa: S603  (our own scripts)
        if code:
            sys.exit(code)
        console.print(f"[bold]= {name} trained in {time.perf_counter() - started:.0f} s[/bold]")


def _more(name: str) -> list[str]:
    """Options of one script: the recommender learns from the feedback that the service has collected."""
    if name != "recommender":
        return []
    from training.recommender.feedback import existing_url

    url = existing_url(os.environ.get("MAKUNOUCHI_FEEDBACK_URL"))
    return ["--feedback", url] if url else []


if __name__ == "__main__":
    run(main, Params, description="Train the default models that the model store lacks.")

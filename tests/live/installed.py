"""Programs of other projects, each in a cached virtual environment: they need other versions of our packages."""

from __future__ import annotations

import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from training.packages import cache_folder


def installed(requirement: str, *, timeout_s: float) -> Path:
    """Return the folder of the programs of a package such as `mlserver==1.7.1`, installed once.

    Skip the test with the installer's error if the installation fails.
    """
    home = cache_folder() / "clients" / requirement.replace("==", "-")
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        # A virtual environment cannot be moved, so a link marks the complete installation.
        scratch = home.with_name(f"{home.name}.partial")
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            venv.create(scratch, with_pip=True)
            command = [str(scratch / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout_s)
        except subprocess.SubprocessError as error:
            lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
            pytest.skip(f"{requirement} cannot be installed: {lines[-1][:200] if lines else error}")
        home.symlink_to(scratch.name)
    return home / "bin"

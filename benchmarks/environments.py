"""A virtual environment per peer, made by the benchmark in the cache folder, at the versions that its file pins.

They are no dependencies of ours. A peer that cannot be installed is reported with the reason and left out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.artifacts import cache_folder

_PEERS = Path(__file__).parent / "peers"
_INSTALL_TIMEOUT_S = 1800
_STAMP = ".requirements"


class NotInstallable(Exception):
    """The environment of a peer cannot be made; the message is the installer's."""


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, whether or not it is made."""
    return cache_folder() / "envs" / peer / "bin" / "python"


def prepare(peer: str, *, timeout_s: float = _INSTALL_TIMEOUT_S) -> Path:
    """Make the environment of a peer unless it is there and up to date; its interpreter. Raises NotInstallable."""
    requirements = _PEERS / peer / "requirements.txt"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    python = python_of(peer)
    stamp = python.parent.parent / _STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(f"> install {peer} into its own environment", flush=True)
    shutil.rmtree(python.parent.parent, ignore_errors=True)
    try:
        _run([sys.executable, "-m", "venv", str(python.parent.parent)], timeout_s)
        _run([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)], timeout_s)
    except (subprocess.SubprocessError, OSError) as error:
        shutil.rmtree(python.parent.parent, ignore_errors=True)
        raise NotInstallable(_reason(error)) from error
    stamp.write_text(wanted)
    return python


def versions(peer: str) -> dict[str, str]:
    """Installed versions of what the peer's file names."""
    names = [line.split("==")[0].split("[")[0] for line in (_PEERS / peer / "requirements.txt").read_text().split()]
    code = (
        "import json, sys\nfrom importlib.metadata import version\n"
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    run = subprocess.run(
        [str(python_of(peer)), "-c", code, *names], capture_output=True, text=True, check=False, timeout=60
    )

    found: dict[str, str] = json.loads(run.stdout) if run.returncode == 0 else {}
    return found


def _run(command: list[str], timeout_s: float) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=timeout_s)


def _reason(error: BaseException) -> str:
    printed = str(getattr(error, "stderr", "") or error)
    lines = [line for line in printed.splitlines() if line.strip() and not line.startswith("WARNING")]
    return " / ".join(lines[-3:])[:400]

"""Virtual environments of the peers, in the cache folder, with the versions in their requirements.txt.

Peers are not dependencies of the project. A peer that cannot be installed is skipped, and the report shows the reason.
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


class InstallError(Exception):
    """The environment of a peer cannot be created; the message is that of the installer."""


def python_of(peer: str) -> Path:
    """Return the path of the Python interpreter of a peer. The environment may not exist yet."""
    return cache_folder() / "envs" / peer / "bin" / "python"


def prepare(peer: str, *, timeout_s: float = _INSTALL_TIMEOUT_S) -> Path:
    """Create or update the environment of a peer and return its interpreter. Raises InstallError."""
    requirements = _PEERS / peer / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    python = python_of(peer)
    stamp = python.parent.parent / _STAMP
    if stamp.is_file() and stamp.read_text() == digest:
        return python
    print(f"> install {peer}", flush=True)
    shutil.rmtree(python.parent.parent, ignore_errors=True)
    try:
        _run([sys.executable, "-m", "venv", str(python.parent.parent)], timeout_s)
        _run([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)], timeout_s)
    except (subprocess.SubprocessError, OSError) as error:
        shutil.rmtree(python.parent.parent, ignore_errors=True)
        raise InstallError(_reason(error)) from error
    stamp.write_text(digest)
    return python


def versions(peer: str) -> dict[str, str]:
    """Return the installed versions of the packages in the requirements.txt of a peer."""
    names = [line.split("==")[0].split("[")[0] for line in (_PEERS / peer / "requirements.txt").read_text().split()]
    code = (
        "import json, sys\nfrom importlib.metadata import version\n"
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    run = subprocess.run(
        [str(python_of(peer)), "-c", code, *names], capture_output=True, text=True, check=False, timeout=60
    )
    installed: dict[str, str] = json.loads(run.stdout) if run.returncode == 0 else {}
    return installed


def _run(command: list[str], timeout_s: float) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=timeout_s)


def _reason(error: BaseException) -> str:
    output = str(getattr(error, "stderr", "") or error)
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith("WARNING")]
    return " / ".join(lines[-3:])[:400]

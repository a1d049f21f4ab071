"""Install the project's packages into the running Python's environment: `python -m deploy.install`, for `make setup`.

uv installs where it is on PATH or the package index has it, and uses the indexes, folders, constraints and certificates
that pip is configured with. pip installs where uv cannot. Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_LOCK = "requirements.lock"
_EXTRAS = ("train", "dev")
# pip's option, uv's environment variable, and what separates several values there. Where pip has no such option set,
# uv's own defaults hold; variables of uv's that are already set win.
_OPTIONS = (
    ("index-url", "UV_DEFAULT_INDEX", " "),
    ("extra-index-url", "UV_INDEX", " "),
    ("find-links", "UV_FIND_LINKS", ","),
    ("no-index", "UV_NO_INDEX", " "),
    ("constraint", "UV_CONSTRAINT", " "),
    ("trusted-host", "UV_INSECURE_HOST", " "),
    ("cert", "SSL_CERT_FILE", " "),
    ("proxy", "ALL_PROXY", " "),
    ("default-timeout", "UV_HTTP_TIMEOUT", " "),
    ("timeout", "UV_HTTP_TIMEOUT", " "),
)


def main() -> None:
    """Install, and print which installer ran and how long it took. Exits with the status of pip when both fail."""
    started = time.monotonic()
    installer = "uv" if install_with_uv() else "pip"
    if installer == "pip":
        install_with_pip()
    print(f"  done in {time.monotonic() - started:.0f} s, with {installer}", flush=True)


def install_with_uv() -> bool:
    """Install with uv. Return False, after a line with the reason, where uv is unavailable or fails."""
    uv = find_uv()
    if uv is None:
        print("  uv is not installed and the package index does not have it; installing with pip", flush=True)
        return False
    extras = [part for extra in _EXTRAS for part in ("--extra", extra)]
    command = [uv, "pip", "install", "--python", sys.executable, "--quiet", "--requirement", "pyproject.toml",
               *extras, "--constraint", _LOCK]  # fmt: skip
    environment = {**os.environ, **uv_environment(pip_options(), os.environ)}
    done = subprocess.run(command, cwd=_ROOT, env=environment, check=False)  # noqa: S603
    if done.returncode:
        print(f"  uv failed with status {done.returncode} (see above); installing with pip", flush=True)
    return done.returncode == 0


def install_with_pip() -> None:
    """Install with a current pip, which prints errors only. Exits with its status when it fails."""
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--constraint", str(_ROOT / _LOCK)]
    subprocess.run([*pip, "--upgrade", "pip"], check=False)  # noqa: S603
    with tempfile.TemporaryDirectory() as scratch:
        # pip builds the project to read its dependencies; the build stays out of the clone.
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(_ROOT / name, scratch)
        done = subprocess.run([*pip, f"{scratch}[{','.join(_EXTRAS)}]"], check=False)  # noqa: S603
    if done.returncode:
        sys.exit(done.returncode)


def find_uv() -> str | None:
    """Return the path of uv: the environment's, the one on PATH, or one that pip installs now; None without any."""
    own = Path(sys.executable).with_name("uv")
    for path in (str(own), shutil.which("uv")):
        if path and _runs(path):
            return path
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
               "--constraint", _LOCK, "uv"]  # fmt: skip
    done = subprocess.run(command, cwd=_ROOT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    return str(own) if done.returncode == 0 and _runs(str(own)) else None


def pip_options() -> dict[str, str]:
    """Return the options that pip is configured with, by files and by environment, as pip itself lists them."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return read_options(done.stdout.splitlines())


def read_options(lines: Sequence[str]) -> dict[str, str]:
    """Parse the lines of `pip config list`. The environment wins over the section `install`, that over `global`."""
    values: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in lines:
        key, _, text = line.partition("=")
        section, _, option = key.partition(".")
        if section in values:
            values[section][option] = str(ast.literal_eval(text))
    return values["global"] | values["install"] | values[":env:"]


def uv_environment(options: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make uv use what pip is configured with, without those that are set already."""
    variables = {name: separator.join(options[option].split()) for option, name, separator in _OPTIONS
                 if options.get(option)}  # fmt: skip
    if "UV_INDEX" in variables:
        # pip takes the best version of all indexes; uv by default stops at the first index that has the package.
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {name: value for name, value in variables.items() if name not in environment}


def _runs(path: str) -> bool:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, check=False)  # noqa: S603
    except OSError:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    main()

"""A real PostgreSQL server on a free port, with its data in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.server import free_port

_USER = "postgres"


def programs() -> Path:
    """Return the folder of initdb and postgres, which is not in PATH on Debian. Skip the test without PostgreSQL."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("PostgreSQL is not installed; run: apt-get install postgresql")
    return folders[-1]


@contextlib.contextmanager
def postgres(encoding: str = "UTF8") -> Iterator[str]:
    """Run a server. Return the SQLAlchemy URL of its database."""
    folder = programs()
    # The server does not run as root, and its user cannot read the folders of pytest.
    scratch = Path(tempfile.mkdtemp(prefix="postgres-"))
    user = _server_user(scratch)
    data, port = scratch / "data", free_port()
    try:
        _run(
            folder / "initdb",
            "--pgdata",
            data,
            "--username",
            _USER,
            "--auth",
            "trust",
            "--no-sync",
            "--no-locale",
            "--encoding",
            encoding,
            user=user,
        )
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={scratch} -c fsync=off"
        control: list[str | Path] = [folder / "pg_ctl", "--pgdata", data, "--silent", "--wait", "--timeout", "300"]
        _run(*control, "--log", scratch / "log", "-o", options, "start", user=user)
        try:
            yield f"postgresql+psycopg://{_USER}@127.0.0.1:{port}/postgres"
        finally:
            _run(*control, "--mode", "immediate", "stop", user=user)
    finally:
        shutil.rmtree(scratch)


def _server_user(scratch: Path) -> str | None:
    if os.getuid():
        return None
    try:
        owner = pwd.getpwnam(_USER)
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and the user postgres does not exist")
    os.chown(scratch, owner.pw_uid, owner.pw_gid)
    return _USER


def _run(*command: str | Path, user: str | None) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        user=user, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout

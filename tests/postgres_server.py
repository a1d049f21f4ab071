"""A real PostgreSQL on a free port with a database of its own in a temporary folder, for tests that write to one."""

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
    """The folder of initdb and postgres, which Debian keeps out of PATH; skips with what is missing."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return found[-1]


@contextlib.contextmanager
def postgres(encoding: str = "UTF8") -> Iterator[str]:
    """A running server; gives the SQLAlchemy URL of its one database."""
    folder = programs()
    # Readable by the server's own user, which pytest's folders are not: as root it refuses to run.
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
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    os.chown(scratch, owner.pw_uid, owner.pw_gid)
    return _USER


def _run(*command: str | Path, user: str | None) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        user=user, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout

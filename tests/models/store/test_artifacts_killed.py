"""A process that is killed during a save leaves nothing to serve and nothing permanent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models.store.artifacts import find, versions
from models.store.saving import saving
from tests.models.test_card import make_card

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"


def save(store: Path, *, version: str | None = None) -> None:
    with saving(make_card(), version=version, store=store) as folder:
        (folder / "weights.npy").write_bytes(b"weights")


_SAVE_AND_HANG = """
import os, signal, sys
from pathlib import Path
from models.store import saving as store
from tests.models.test_card import make_card
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
setattr({owner}, "{name}", die)
with store.saving(make_card(), store=Path(sys.argv[1])) as folder:
    (folder / "weights.npy").write_bytes(b"weights")
"""


def killed_while_saving(store: Path, scratch: pytest.TempPathFactory, *, owner: str, name: str) -> None:
    code, env = _SAVE_AND_HANG.format(owner=owner, name=name), {**os.environ, "TMPDIR": str(scratch.mktemp("killed"))}
    run = subprocess.run([sys.executable, "-c", code, str(store)], cwd=ROOT, env=env, capture_output=True, check=False)
    assert run.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("owner", "name"), [("store", "write_manifest"), ("store", "read_artifact"), ("os", "rename")])
def test_a_process_killed_while_it_saves_leaves_nothing_to_serve(
    store: Path, tmp_path_factory: pytest.TempPathFactory, owner: str, name: str
) -> None:
    save(store, version="v1")
    killed_while_saving(store, tmp_path_factory, owner=owner, name=name)
    assert [artifact.version for artifact in versions("tiny", store=store)] == ["v1"]
    assert find("tiny", store=store).version == "v1"
    assert sorted(path.name for path in (store / "tiny").iterdir()) == ["latest", "v1"]


def test_leftovers_of_a_killed_process_are_cleared_by_a_later_save(
    store: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    killed_while_saving(store, tmp_path_factory, owner="os", name="rename")
    (leftover,) = [path for path in store.parent.iterdir() if path != store]
    os.utime(leftover, (0, 0))
    save(store)
    assert [path.name for path in store.parent.iterdir()] == ["models"]

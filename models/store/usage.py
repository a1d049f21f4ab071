"""Which versions are in use: loaded by a running process, or wanted by the deployment state of a service."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from models.errors import ArtifactInUse, StoreUnavailable
from models.store.artifacts import Artifact
from models.store.sources.source import is_source

STATE_FILE = "deployment.json"
# Of a file system that has no locks for folders, or not for those that are open for reading.
_NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


def keep(artifact: Artifact) -> Artifact:
    """Return a copy that marks its version as in use by this process for as long as the copy exists.

    The mark is a shared lock on the folder, which the system releases when the process ends.
    """
    kept = replace(artifact)
    with contextlib.suppress(OSError):
        descriptor = os.open(artifact.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        weakref.finalize(kept, os.close, descriptor).atexit = False
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return kept


@contextlib.contextmanager
def unused(folder: Path) -> Iterator[None]:
    """Let no process mark the version in `folder` as in use within the block. Raise ArtifactInUse when one has."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtifactInUse("a running service has loaded it") from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(descriptor)


def is_loaded(folder: Path) -> bool:
    """Return whether a process of this host has marked the version in `folder` as in use."""
    try:
        with unused(folder):
            return False
    except ArtifactInUse:
        return True


def default_state_folder() -> Path:
    """Return the folder of a service's run-time state, next to BentoML's model store."""
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml") / "makunouchi"


def deployment_uses(name: str, *, state_folder: Path, store: Path) -> dict[str, list[str]]:
    """Return how a service's deployment state uses the versions of the artifact `name`.

    Raise StoreUnavailable when the state cannot be read.
    """
    uses: dict[str, list[str]] = {}
    for model, state in _models(state_folder).items():
        # Without a tag the artifact has the name of the model, unless the store has no such artifact: then it may be
        # any.
        artifact, _, configured = _tag(state).partition(":")
        if name != (artifact or model) and (artifact or (store / model).is_dir()):
            continue
        if configured:
            uses.setdefault(configured, []).append(f"configured for {model}")
        if version := state.get("version"):
            uses.setdefault(str(version), []).append(f"pinned by {model}")
        weights = state.get("weights")
        for version in weights if isinstance(weights, dict) else ():
            uses.setdefault(str(version), []).append(f"in the traffic of {model}")
        if version := state.get("shadow"):
            uses.setdefault(str(version), []).append(f"shadow of {model}")
    return uses


def _tag(state: dict[str, object]) -> str:
    """Return the artifact's tag of a model that was added at run time, or for which the version was pinned."""
    change = state.get("change")
    entry = change.get("entry") if isinstance(change, dict) else None
    tag = entry.get("artifact") if isinstance(entry, dict) else None
    tag = str(tag or state.get("configured") or "")
    # The versions from a source have the name of the model.
    return "" if is_source(tag) else tag


def _models(state_folder: Path) -> dict[str, dict[str, object]]:
    path = state_folder / STATE_FILE
    try:
        models = json.loads(path.read_bytes())["models"]
        if all(isinstance(state, dict) for state in models.values()):
            return dict(models)
        reason = "its content is malformed"
    except FileNotFoundError:
        return {}
    except OSError as error:
        reason = error.strerror or "it cannot be read"
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = "its content is malformed"
    raise StoreUnavailable(f"{STATE_FILE} in the state folder does not tell which versions are served: {reason}")

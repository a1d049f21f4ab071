"""The loaded versions of one runner's model: the default one, and others that calls can name.

A version is loaded and must answer its example before it gets calls. A version that is replaced or dropped keeps
answering the calls that name it for `LINGER_S`, because gateways learn of the change up to a second later. Its memory
is released when its last call has returned.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from models.errors import ArtifactInvalid, VersionNotLoaded
from serving.process.heartbeat import heartbeat
from serving.runners.interface import ModelRef

log = logging.getLogger("makunouchi.versions")

DRAIN_S = 60.0
LINGER_S = 5.0

# The version that the call in this thread names; empty for the default one.
requested_version: ContextVar[str] = ContextVar("requested_version", default="")


class NamedArtifact(Protocol):
    """Names one saved version of one model."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...


class Predictor(Protocol):
    """Anything that was loaded from an artifact."""

    @property
    def artifact(self) -> Any: ...  # Any: models.store.Artifact, which serving does not import


P = TypeVar("P", bound=Predictor)


@dataclass(slots=True, eq=False)
class _LoadedVersion(Generic[P]):
    predictor: P
    model: ModelRef
    calls: int = 0


@dataclass(frozen=True, slots=True)
class StartVersions:
    """What a runner loads at its start: a default version, None for the configured one, and versions to hold."""

    version: str | None = None
    held: tuple[str, ...] = ()


class LoadedVersions(Generic[P]):
    """The loaded versions of one model. Thread-safe.

    `load` takes a version, or None for the configured one, and raises ArtifactError or what loading raises. `warm_up`
    runs the example of a new predictor and returns its answer. `on_release` is called after a version was dropped.
    """

    def __init__(
        self,
        load: Callable[[str | None], P],
        *,
        warm_up: Callable[[P], object],
        start: StartVersions | None = None,
        linger_s: float = LINGER_S,
    ) -> None:
        start = start or StartVersions()
        self.on_release: Callable[[], object] = lambda: None
        self._load = load
        self._warm_up = warm_up
        self._linger_s = linger_s
        self._state = threading.Condition()
        self._changing = threading.Lock()
        self._last_used = threading.local()
        self._default = self._load_version(start.version)
        self._others: dict[str, _LoadedVersion[P]] = {}
        self._held: tuple[str, ...] = ()
        for version in start.held:
            self._hold_at_start(version)

    @property
    def model(self) -> ModelRef:
        """The default version."""
        return self._default.model

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that `hold` was called with."""
        return self._held

    @property
    def predictor(self) -> P:
        """The predictor of the default version. For reading; calls use `lease`."""
        return self._default.predictor

    @property
    def last_used(self) -> ModelRef:
        """The version that answered this thread's last call."""
        return getattr(self._last_used, "model", self._default.model)

    def lease(self) -> Lease[P]:
        """Return a context manager that gives the predictor of `requested_version` and keeps it loaded for the block.

        Entering it raises VersionNotLoaded.
        """
        return Lease(self)

    def reload(self, version: str | None = None, *, drain_s: float = DRAIN_S) -> ModelRef:
        """Load `version` and make it the default one; return when the calls to the previous one have returned.

        What loading or warming up raises is raised here, and the previous version remains the default. One change runs
        at a time.
        """
        with self._changing:
            new = self._load_version(version)
            with self._state:
                old, self._default = self._default, new
                self._others.pop(new.model.version, None)
                is_replaced = old.model.version != new.model.version
                if is_replaced:
                    self._others[old.model.version] = old
                if old.model.version not in self._held or not is_replaced:
                    self._wait_until_idle(old, drain_s)
            if is_replaced:
                self._release_later([old])
        log.info("%s: version %s replaces %s", new.model.name, new.model.version, old.model.version)
        return new.model

    def hold(self, versions: Iterable[str]) -> tuple[str, ...]:
        """Load `versions` for the calls that name them, and drop all others but the default one.

        When one cannot be loaded, what loading it raises is raised here, and nothing has changed.
        """
        wanted = tuple(dict.fromkeys(versions))
        with self._changing:
            new = {version: self._load_version(version) for version in wanted if not self._is_loaded(version)}
            with self._state:
                dropped = [self._others[version] for version in self._held if version in self._others.keys() - wanted]
                self._others |= new
                self._held = wanted
            self._release_later(dropped)
        log.info("%s holds versions: %s", self.model.name, ", ".join(wanted) or "the default one only")
        return wanted

    def acquire(self) -> _LoadedVersion[P]:
        """Return the requested version and count a call to it. Raises VersionNotLoaded. Used by `Lease`."""
        version = requested_version.get()
        with self._state:
            loaded = self._default
            if version and version != loaded.model.version:
                other = self._others.get(version)
                if other is None:
                    raise VersionNotLoaded("the version is not loaded at the moment")
                loaded = other
            loaded.calls += 1
        self._last_used.model = loaded.model
        return loaded

    def release(self, loaded: _LoadedVersion[P]) -> None:
        """Count the end of a call. Used by `Lease`."""
        with self._state:
            loaded.calls -= 1
            if not loaded.calls:
                self._state.notify_all()

    def _is_loaded(self, version: str) -> bool:
        return version == self._default.model.version or version in self._others

    def _wait_until_idle(self, old: _LoadedVersion[P], drain_s: float) -> None:
        if not self._state.wait_for(lambda: not old.calls, timeout=drain_s):
            log.warning("version %s of %s still has calls after %.0f s", old.model.version, old.model.name, drain_s)

    def _release_later(self, loaded: list[_LoadedVersion[P]]) -> None:
        if loaded:
            timer = threading.Timer(self._linger_s, self._drop, [loaded])
            timer.daemon = True
            timer.start()

    def _drop(self, loaded: list[_LoadedVersion[P]]) -> None:
        """Drop those of `loaded` that are not held again. Calls in flight keep the predictor that they use."""
        is_dropped = False
        with self._state:
            for each in loaded:
                version = each.model.version
                if version not in self._held and self._others.get(version) is each:
                    del self._others[version]
                    is_dropped = True
        loaded.clear()
        if is_dropped:
            self.on_release()

    def _hold_at_start(self, version: str) -> None:
        """Load a version to hold. A version that does not load is logged and does not stop the runner."""
        try:
            if not self._is_loaded(version):
                self._others[version] = self._load_version(version)
        except Exception as error:
            log.error("version %s of %s is not loaded: %s", version, self.model.name, error)
        else:
            self._held = (*self._held, version)

    def _load_version(self, version: str | None) -> _LoadedVersion[P]:
        with heartbeat.loading():
            predictor = self._load(version)
            answer = self._warm_up(predictor)
        if isinstance(answer, np.ndarray) and not np.isfinite(answer).all():
            raise ArtifactInvalid("the model answers NaN or infinity to its own example")
        return _LoadedVersion(predictor, model_ref(predictor.artifact))


class Lease(Generic[P]):
    """One use of a predictor: `with versions.lease() as predictor:`."""

    __slots__ = ("_loaded", "_versions")

    def __init__(self, versions: LoadedVersions[P]) -> None:
        self._versions = versions

    def __enter__(self) -> P:
        self._loaded = self._versions.acquire()
        return self._loaded.predictor

    def __exit__(self, *_: object) -> None:
        self._versions.release(self._loaded)


def model_ref(artifact: NamedArtifact) -> ModelRef:
    """Return the name and version of an artifact."""
    return ModelRef(artifact.name, artifact.version)

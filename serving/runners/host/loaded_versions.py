"""Holds the predictor that answers now, and others beside it, and swaps them without dropping a call. Knows no model.

A new version is loaded and warmed up beside the old one; only then is it swapped in, and the old one is let go when
the last call that uses it has returned. Versions that were asked to be held beside it answer those who name them.
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
from serving.runners.interface import ModelRef

log = logging.getLogger("makunouchi.slot")

DRAIN_S = 60.0
# How long a version answers on that is no longer held: for gateways that have not heard of it yet.
LINGER_S = 5.0

# The version that the call in this thread is for; without one that which answers by default.
wanted_version: ContextVar[str] = ContextVar("wanted_version", default="")


class Versioned(Protocol):
    """Names one saved version of one model."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...


class Predictor(Protocol):
    """What a slot can hold: anything loaded from an artifact."""

    @property
    def artifact(self) -> Any: ...  # Any: models.store.Artifact, which serving does not import


P = TypeVar("P", bound=Predictor)


@dataclass(slots=True, eq=False)
class _Held(Generic[P]):
    predictor: P
    model: ModelRef
    calls: int = 0


@dataclass(frozen=True, slots=True)
class StartVersions:
    """What a runner starts with: a version, or None for the configured one, and those to hold beside it."""

    version: str | None = None
    held: tuple[str, ...] = ()


class LoadedVersions(Generic[P]):
    """The current predictor of one runner, and those beside it. Safe to use from several threads.

    `load` takes a version, or None for the configured one, and raises ArtifactError or whatever loading raises.
    `warm_up` asks the new predictor something and raises when the answer is not one.
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
        self._load = load
        self._warm_up = warm_up
        self._linger_s = linger_s
        self._state = threading.Condition()
        self._changing = threading.Lock()
        self._answered = threading.local()
        self._held = self._make(start.version)
        self._beside: dict[str, _Held[P]] = {}
        self._wanted: tuple[str, ...] = ()
        for version in start.held:
            self._hold_if_it_loads(version)

    @property
    def model(self) -> ModelRef:
        """The version that answers by default."""
        return self._held.model

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that are held because they were asked for."""
        return self._wanted

    @property
    def current(self) -> P:
        """The predictor that answers by default. For reading; calls go through `lease`."""
        return self._held.predictor

    @property
    def answered(self) -> ModelRef:
        """The version that answered this thread's last call."""
        return getattr(self._answered, "model", self._held.model)

    def lease(self) -> Lease[P]:
        """`with slot.lease() as predictor:` keeps it alive until the block ends, whatever is swapped in meanwhile.

        It is that of `wanted_version`. Raises VersionNotLoaded.
        """
        return Lease(self)

    def _take(self) -> _Held[P]:
        wanted = wanted_version.get()
        with self._state:
            held = self._held
            if wanted and wanted != held.model.version:
                beside = self._beside.get(wanted)
                if beside is None:
                    raise VersionNotLoaded("the version is not loaded at the moment")
                held = beside
            held.calls += 1
        self._answered.model = held.model
        return held

    def _give_back(self, held: _Held[P]) -> None:
        with self._state:
            held.calls -= 1
            if not held.calls:
                self._state.notify_all()

    def reload(self, version: str | None = None, *, drain_s: float = DRAIN_S) -> ModelRef:
        """Load, warm up and swap in `version`; wait until the old one is idle. One change at a time.

        What loading or warming up raises is raised here, and the old version goes on serving. An old one that was
        asked to be held stays beside the new one.
        """
        with self._changing:
            new = self._make(version)
            with self._state:
                old, self._held = self._held, new
                self._beside.pop(new.model.version, None)
                if old.model.version in self._wanted and old.model.version != new.model.version:
                    self._beside[old.model.version] = old
                elif not self._state.wait_for(lambda: not old.calls, timeout=drain_s):
                    log.warning(
                        "version %s of %s still answers after %.0f s", old.model.version, old.model.name, drain_s
                    )
        log.info("%s: version %s took over from %s", new.model.name, new.model.version, old.model.version)
        return new.model

    def hold(self, versions: Iterable[str]) -> tuple[str, ...]:
        """Have exactly `versions` answer those who name them, each loaded and warmed up before it does.

        When one cannot be, what loading it raises is raised here and nothing has changed. One that is not among them
        any more answers on for some seconds.
        """
        wanted = tuple(dict.fromkeys(versions))
        with self._changing:
            new = {each: self._make(each) for each in wanted if not self._has(each)}
            with self._state:
                self._beside |= new
                self._wanted = wanted
            if set(self._beside) - set(wanted):
                letting_go = threading.Timer(self._linger_s, self._let_go)
                letting_go.daemon = True
                letting_go.start()
        log.info("%s: versions %s are held", self.model.name, ", ".join(wanted) or "none")
        return wanted

    def _has(self, version: str) -> bool:
        return version == self._held.model.version or version in self._beside

    def _let_go(self) -> None:
        # Calls under way hold what they use.
        with self._state:
            self._beside = {version: held for version, held in self._beside.items() if version in self._wanted}

    def _hold_if_it_loads(self, version: str) -> None:
        """At the start a version that cannot be held is said, and does not keep the others from answering."""
        try:
            if not self._has(version):
                self._beside[version] = self._make(version)
        except Exception as error:
            log.error("version %s of %s is not held: %s", version, self.model.name, error)
        else:
            self._wanted = (*self._wanted, version)

    def _make(self, version: str | None) -> _Held[P]:
        predictor = self._load(version)
        answer = self._warm_up(predictor)
        if isinstance(answer, np.ndarray) and not np.isfinite(answer).all():
            raise ArtifactInvalid("the model answers NaN or infinity to its own example")
        return _Held(predictor, model_ref(predictor.artifact))


class Lease(Generic[P]):
    """One use of a slot's predictor."""

    __slots__ = ("_held", "_slot")

    def __init__(self, slot: LoadedVersions[P]) -> None:
        self._slot = slot

    def __enter__(self) -> P:
        self._held = self._slot._take()
        return self._held.predictor

    def __exit__(self, *_: object) -> None:
        self._slot._give_back(self._held)


def model_ref(artifact: Versioned) -> ModelRef:
    """Name and version of an artifact."""
    return ModelRef(artifact.name, artifact.version)

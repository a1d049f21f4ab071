"""Holds the predictor that answers now, and swaps it for another version without dropping a call. Knows no model.

A new version is loaded and warmed up beside the old one; only then is it swapped in, and the old one is let go when
the last call that uses it has returned.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from models.errors import ArtifactInvalid
from serving.runners import ModelRef

log = logging.getLogger("makunouchi.slot")

DRAIN_S = 60.0


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


class Slot(Generic[P]):
    """The current predictor of one runner. Safe to use from several threads.

    `load` takes a version, or None for the configured one, and raises ArtifactError or whatever loading raises.
    `warm_up` asks the new predictor something and raises when the answer is not one.
    """

    def __init__(
        self, load: Callable[[str | None], P], *, warm_up: Callable[[P], object], version: str | None = None
    ) -> None:
        self._load = load
        self._warm_up = warm_up
        self._state = threading.Condition()
        self._reloading = threading.Lock()
        self._answered = threading.local()
        self._held = self._make(version)

    @property
    def model(self) -> ModelRef:
        """The version that answers now."""
        return self._held.model

    @property
    def current(self) -> P:
        """The predictor that answers now. For reading; calls go through `lease`."""
        return self._held.predictor

    @property
    def answered(self) -> ModelRef:
        """The version that answered this thread's last call."""
        return getattr(self._answered, "model", self._held.model)

    def lease(self) -> Lease[P]:
        """`with slot.lease() as predictor:` keeps it alive until the block ends, whatever is swapped in meanwhile."""
        return Lease(self)

    def _take(self) -> _Held[P]:
        with self._state:
            held = self._held
            held.calls += 1
        self._answered.model = held.model
        return held

    def _give_back(self, held: _Held[P]) -> None:
        with self._state:
            held.calls -= 1
            if not held.calls:
                self._state.notify_all()

    def reload(self, version: str | None = None, *, drain_s: float = DRAIN_S) -> ModelRef:
        """Load, warm up and swap in `version`; wait until the old one is idle. One reload at a time.

        What loading or warming up raises is raised here, and the old version goes on serving.
        """
        with self._reloading:
            new = self._make(version)
            with self._state:
                old, self._held = self._held, new
                if not self._state.wait_for(lambda: not old.calls, timeout=drain_s):
                    log.warning(
                        "version %s of %s still answers after %.0f s", old.model.version, old.model.name, drain_s
                    )
        log.info("%s: version %s took over from %s", new.model.name, new.model.version, old.model.version)
        return new.model

    def _make(self, version: str | None) -> _Held[P]:
        predictor = self._load(version)
        answer = self._warm_up(predictor)
        if isinstance(answer, np.ndarray) and not np.isfinite(answer).all():
            raise ArtifactInvalid("the model answers NaN or infinity to its own example")
        return _Held(predictor, model_ref(predictor.artifact))


class Lease(Generic[P]):
    """One use of a slot's predictor."""

    __slots__ = ("_held", "_slot")

    def __init__(self, slot: Slot[P]) -> None:
        self._slot = slot

    def __enter__(self) -> P:
        self._held = self._slot._take()
        return self._held.predictor

    def __exit__(self, *_: object) -> None:
        self._slot._give_back(self._held)


def model_ref(artifact: Versioned) -> ModelRef:
    """Name and version of an artifact."""
    return ModelRef(artifact.name, artifact.version)

"""User-defined steps before and after a model: classes with `apply(batch)`, which returns as many rows.

A step gets what the model gets and returns: an array with a row per item, or a list of objects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.errors import ArtifactInvalid, PredictionFailed, text_of
from models.user_code import import_class

Batch = Any  # an array or a list of JSON objects, typed by the kind of the model


class Step(Protocol):
    """Changes the rows of a batch. May be called from several threads."""

    def apply(self, batch: Batch) -> Batch:
        """Return as many rows, in the same order."""
        ...


@dataclass(frozen=True, slots=True)
class _NamedStep:
    reference: str
    step: Step

    def __call__(self, batch: Batch) -> Batch:
        result = self.step.apply(batch)
        if not hasattr(result, "__len__") or len(result) != len(batch):
            returned = f"{len(result)} rows" if hasattr(result, "__len__") else type(result).__name__
            raise PredictionFailed(f"step '{self.reference}' returned {returned} for {len(batch)} rows")
        return result


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps around one model, none by default."""

    before: tuple[_NamedStep, ...] = field(default=())
    after: tuple[_NamedStep, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.before or self.after)

    @property
    def before_only(self) -> Steps:
        """These steps without those after the model."""
        return Steps(self.before)

    def around(self, call: Callable[[Any, Batch], Batch]) -> Callable[[Any, Batch], Batch]:
        """Return `call`, which answers a batch with a predictor, with the steps around it."""
        if not self:
            return call

        def answer(predictor: Any, batch: Batch) -> Batch:  # Any: the kind's own predictor
            for step in self.before:
                batch = step(batch)
            batch = call(predictor, batch)
            for step in self.after:
                batch = step(batch)
            return batch

        return answer


def load_steps(preprocess: str = "", postprocess: str = "") -> Steps:
    """Return the steps that are named as `package.module:Class`. Raises ArtifactInvalid for one that is not there."""
    return Steps(_loaded(preprocess), _loaded(postprocess))


def _loaded(reference: str) -> tuple[_NamedStep, ...]:
    if not reference:
        return ()
    found = import_class(reference)
    if not callable(getattr(found, "apply", None)):
        raise ArtifactInvalid(f"step '{reference}' has no method apply(self, batch)")
    try:
        return (_NamedStep(reference, found()),)
    except Exception as error:
        raise ArtifactInvalid(f"step '{reference}' cannot be made: {type(error).__name__}: {text_of(error)}") from error

"""The progress of one job under one lease, and the lines of its result that are not written yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from serving.jobs.outcomes import Outcome
from serving.jobs.storage.item_file import JobItem
from serving.jobs.storage.record import Job, ModelUsage
from serving.runners.interface import ModelRef


@dataclass(slots=True)
class Progress:
    """The number of answered items, of failed ones, and of items by model. `lines` are not written yet."""

    done: int
    failed: int
    models: Counter[ModelRef]
    lines: list[bytes] = field(default_factory=list)
    saved_done: int = 0
    saved_failed: int = 0

    @classmethod
    def of(cls, job: Job) -> Progress:
        """Return the progress at the last checkpoint of `job`."""
        models = Counter({ModelRef(usage.name, usage.version): usage.items for usage in job.models})
        return cls(job.done, job.failed, models, saved_done=job.done, saved_failed=job.failed)

    def add(self, items: Sequence[JobItem], outcomes: Sequence[Outcome], labels: Sequence[str]) -> None:
        """Add the outcomes of a batch. `labels` are the members of an item's head that its line contains."""
        for item, outcome in zip(items, outcomes, strict=True):
            self.lines.append(_line(self.done, item, outcome, labels))
            self.done += 1
            self.failed += not outcome.is_ok
            if outcome.model is not None:
                self.models[outcome.model] += 1

    def model_usage(self) -> tuple[ModelUsage, ...]:
        """Return the number of items by model."""
        return tuple(ModelUsage(model.name, model.version, items) for model, items in self.models.items())

    def take_lines(self) -> bytes:
        """Return the lines that are not written yet, and forget them."""
        lines = b"".join(self.lines)
        self.lines.clear()
        return lines

    def mark_saved(self) -> tuple[int, int]:
        """Record a checkpoint, and return the number of answered and of failed items since the last one."""
        done, failed = self.done - self.saved_done, self.failed - self.saved_failed
        self.saved_done, self.saved_failed = self.done, self.failed
        return done, failed


def _line(index: int, item: JobItem, outcome: Outcome, labels: Sequence[str]) -> bytes:
    label_values = {name: item.head[name] for name in labels if name in item.head}
    model = None if outcome.model is None else {"name": outcome.model.name, "version": outcome.model.version}
    return orjson.dumps({"index": index, **label_values, **outcome.content, "model": model}) + b"\n"

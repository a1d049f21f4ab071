"""The record of replaced processes: why, and how often. The supervisor writes it, and the gateways report it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal

from serving.process.startup import STARTED_FOLDER

Reason = Literal["died", "hung", "memory", "start"]
_FILE: Final = "replacements.json"


@dataclass(frozen=True, slots=True)
class Replacement:
    """The number of replacements of one service's processes by reason, and the detail of the last one.

    `time` is in `time.monotonic()` seconds, which all processes of a machine share.
    """

    counts: dict[str, int] = field(default_factory=dict)
    detail: str = ""
    time: float = 0.0


class Replacements:
    """The supervisor's record, in `folder`."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = folder / _FILE
        self._clock = clock
        self._by_name: dict[str, Replacement] = {}

    def add(self, name: str, reason: Reason, detail: str) -> None:
        """Record that a process of the service `name` is replaced. `detail` is for `/readyz`."""
        counts = dict(self._by_name[name].counts) if name in self._by_name else {}
        counts[reason] = counts.get(reason, 0) + 1
        self._by_name[name] = Replacement(counts, detail, self._clock())
        new = self._path.with_suffix(".new")
        # A full disk must not end the supervisor.
        with suppress(OSError):
            new.write_text(json.dumps({each: asdict(record) for each, record in self._by_name.items()}))
            new.rename(self._path)


def read_replacements() -> dict[str, Replacement]:
    """Return the replacements of the processes of this service, by name; none without a supervisor."""
    folder = os.environ.get(STARTED_FOLDER)
    if not folder:
        return {}
    try:
        records = json.loads((Path(folder) / _FILE).read_text())
    except (OSError, ValueError):
        return {}
    return {name: Replacement(**record) for name, record in records.items()}


def replaced_since(name: str, since: float) -> str:
    """Return why a process of the service `name` was replaced after `since`, or an empty text."""
    last = read_replacements().get(name)
    return last.detail if last is not None and last.time >= since else ""

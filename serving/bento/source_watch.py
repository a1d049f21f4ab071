"""Fetches what the sources of the served models hold now, at intervals. The reconciler then finds the new version."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from models.store.sources.source import is_source, label_of
from models.watch import Watch
from serving.concurrency import cancel_and_wait
from serving.settings.model_list import ModelEntry

log = logging.getLogger("makunouchi.sources")


class SourceWatch:
    """Calls `fetch` for each of `entries()` with a source, every `every_s` seconds; 0 never does.

    A fetch costs one request while nothing has changed. A fault is logged once, and the served version stays.
    """

    def __init__(
        self, entries: Callable[[], Sequence[ModelEntry]], fetch: Callable[[ModelEntry], None], *, every_s: float
    ) -> None:
        self._entries = entries
        self._fetch = fetch
        self._every_s = every_s
        self._watches: dict[str, Watch] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the loop, if there is an interval."""
        if self._every_s:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="sources")

    async def stop(self) -> None:
        """End the loop. A fetch that has begun ends in its thread."""
        task, self._task = self._task, None
        await cancel_and_wait(task)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            for entry in self._entries():
                if is_source(entry.artifact):
                    with self._watch(entry.artifact).attempt():
                        await asyncio.to_thread(self._fetch, entry)

    def _watch(self, source: str) -> Watch:
        label = label_of(source)
        if label not in self._watches:
            self._watches[label] = Watch("sources", f"read source '{label}'", keeps="the served version stays", log=log)
        return self._watches[label]

"""Fetches what the sources of the served models hold now, at intervals. The reconciler then finds the new version."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from models.store.sources.source import is_source, label_of
from models.watch import Watch
from serving.concurrency import TaskSet, ThreadPool, cancel_and_wait
from serving.settings.model_list import ModelEntry

log = logging.getLogger("makunouchi.sources")

# Sources that are read at the same time. A source that does not answer holds a thread for minutes.
THREADS: Final = 8


class SourceWatch:
    """Calls `fetch` for each of `entries()` with a source, every `every_s` seconds; 0 never does.

    A fetch costs one request while nothing has changed. A fault is logged once, and the served version stays. A source
    that is slow delays no other.
    """

    def __init__(
        self, entries: Callable[[], Sequence[ModelEntry]], fetch: Callable[[ModelEntry], None], *, every_s: float
    ) -> None:
        self._entries = entries
        self._fetch = fetch
        self._every_s = every_s
        # By model and source: several models may have one source.
        self._watches: dict[tuple[str, str], Watch] = {}
        self._busy: set[tuple[str, str]] = set()
        # Its threads do not delay the end of the process, however long a fetch takes.
        self._pool = ThreadPool(THREADS, name="sources")
        self._fetches = TaskSet()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the loop, if there is an interval."""
        if self._every_s:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="sources")

    async def stop(self) -> None:
        """End the loop. The process does not wait for a fetch that has begun; the next one continues it."""
        task, self._task = self._task, None
        await cancel_and_wait(task)
        await self._fetches.cancel()
        self._pool.close()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            entries = {(entry.name, entry.artifact): entry for entry in self._entries() if is_source(entry.artifact)}
            for key in self._watches.keys() - entries.keys():
                self._watches.pop(key).close()
            for key, entry in entries.items():
                if key not in self._busy:
                    self._busy.add(key)
                    self._fetches.begin(self._refresh(key, entry))

    async def _refresh(self, key: tuple[str, str], entry: ModelEntry) -> None:
        if key not in self._watches:
            task = f"read the source '{label_of(entry.artifact)}' of {entry.name}"
            self._watches[key] = Watch("sources", task, keeps="what is served stays", log=log)
        try:
            with self._watches[key].attempt():
                await self._pool.run(self._fetch, entry)
        finally:
            self._busy.discard(key)

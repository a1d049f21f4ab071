"""A feature store that reloads its tables when their files change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from models.recommender.dataset.feature_files import GROUPS, ITEMS, USERS, read_feature_tables
from models.recommender.dataset.feature_tables import FeatureSnapshot
from models.watch import Watch

log = logging.getLogger("makunouchi.features")


class FeatureStore:
    """The feature tables of a folder.

    `current` checks the files at most every `ttl_s` seconds. A thread reloads them after a change, or when a row in the
    future becomes valid; the previous tables stay in use until then, and when the reload fails. `check` raises
    ArtifactInvalid for unusable tables. `now` returns Unix seconds.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        ttl_s: float = 60.0,
        check: Callable[[FeatureSnapshot], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._check = check
        self._ttl_s = ttl_s
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._file_versions = _file_versions(folder)
        self._features = self._read_now()
        self._checked_at = clock()
        self._reload_thread: threading.Thread | None = None
        self._watch = Watch("features", "read the feature tables", keeps="the previous tables remain in use", log=log)

    def reads_from(self, folder: Path) -> bool:
        """Return whether the tables come from `folder`."""
        return self._folder == folder

    def current(self) -> FeatureSnapshot:
        """Return the current tables."""
        if self._folder is not None and self._clock() - self._checked_at >= self._ttl_s:
            self._reload_if_changed()
        return self._features

    def wait(self, timeout_s: float = 60.0) -> None:
        """Wait for a running reload."""
        thread = self._reload_thread
        if thread is not None:
            thread.join(timeout_s)

    def _reload_if_changed(self) -> None:
        with self._lock:
            if self._clock() - self._checked_at < self._ttl_s:
                return
            self._checked_at = self._clock()
            file_versions = _file_versions(self._folder)
            is_due = file_versions != self._file_versions or self._now() >= self._features.changes_at
            if not is_due or (self._reload_thread is not None and self._reload_thread.is_alive()):
                return
            self._reload_thread = threading.Thread(
                target=self._read, args=(file_versions,), name="features", daemon=True
            )
            self._reload_thread.start()

    def _read(self, file_versions: tuple[tuple[str, int, int], ...]) -> None:
        with self._watch.attempt():
            features = self._read_now()
            self._features, self._file_versions = features, file_versions
            log.info("features reloaded: %d users, %d items", len(features.users.ids), len(features.items.ids))

    def _read_now(self) -> FeatureSnapshot:
        features = read_feature_tables(self._folder, now=self._now()) if self._folder is not None else FeatureSnapshot()
        self._check(features)
        return features


def _file_versions(folder: Path | None) -> tuple[tuple[str, int, int], ...]:
    if folder is None:
        return ()
    versions = []
    for name in (USERS, ITEMS, GROUPS):
        try:
            stat = (folder / name).stat()
        except OSError:
            continue
        versions.append((name, stat.st_mtime_ns, stat.st_size))
    return tuple(versions)

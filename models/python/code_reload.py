"""Reload the user's classes when their files change, for development.

The user's modules are imported again, and every loaded model gets a new instance once that has answered its example.
Code with a fault changes nothing: the log has the reason, and the previous code continues to answer. The process and
its libraries stay, so that a change is served within a fraction of a second.
"""

from __future__ import annotations

import importlib
import logging
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

from models.python.model import PythonModel
from models.python.peers import Ask
from models.store.artifacts import Artifact

log = logging.getLogger("makunouchi.python")

CHECK_EVERY_S: Final = 0.2
# Packages of the platform, which may be in the same folder as the user's.
_PLATFORM: Final = frozenset({"models", "serving", "training", "scoring", "service"})


class CodeReloader:
    """Loads models, and watches the files of their code while the process lives."""

    def __init__(self, ask: Ask | None = None) -> None:
        self._ask = ask
        # Python recognizes the files of compiled code by the second in which the source was written.
        sys.dont_write_bytecode = True
        self._models: weakref.WeakSet[PythonModel] = weakref.WeakSet()
        self._roots: set[Path] = set()
        # When each file of the modules was written, and its size. Those that can no longer be imported stay.
        self._seen: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def load(self, artifact: Artifact) -> PythonModel:
        """As `PythonModel.load`, with the present code."""
        with self._lock:
            self._forget_changed()
            model = PythonModel.load(artifact, self._ask)
            self._models.add(model)
            self._roots |= _roots(model.reference)
            self._look()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="code reload", daemon=True)
            self._thread.start()
        return model

    def check(self) -> bool:
        """Import what has changed, and return whether something had."""
        with self._lock:
            if not self._forget_changed():
                return False
            for model in list(self._models):
                _renew(model)
            self._look()
            return True

    def _watch(self) -> None:
        while True:
            time.sleep(CHECK_EVERY_S)
            try:
                self.check()
            except Exception:
                log.exception("the code could not be checked for changes")

    def _forget_changed(self) -> bool:
        """Forget all modules if the file of one has changed, so that they are imported at their next use."""
        present = {file: _written(file) for file in self._seen}
        if present == self._seen:
            return False
        self._seen = present
        for module in list(self._modules()):
            del sys.modules[module.__name__]
            if cached := getattr(module, "__cached__", None):
                Path(cached).unlink(missing_ok=True)
        importlib.invalidate_caches()
        return True

    def _look(self) -> None:
        """Watch the files of modules that were imported since. The next check finds a change during the import."""
        for module in self._modules():
            file = str(module.__file__)
            self._seen.setdefault(file, _written(file))

    def _modules(self) -> Iterator[ModuleType]:
        """Yield the imported modules in the folders of the models' packages that are not installed."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file is None or name == "__main__" or name.partition(".")[0] in _PLATFORM:
                continue
            path = Path(file)
            if "site-packages" not in path.parts and any(path.is_relative_to(root) for root in self._roots):
                yield module


def _renew(model: PythonModel) -> None:
    started = time.perf_counter()
    try:
        model.renew()
    except Exception as error:
        log.error("the changed code of %s is not used: %s", model.reference, error, exc_info=error)
    else:
        duration_ms = 1000 * (time.perf_counter() - started)
        log.info("the changed code of %s answers after %.0f ms", model.reference, duration_ms)


def _written(file: str) -> tuple[int, int]:
    try:
        status = Path(file).stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _roots(reference: str) -> set[Path]:
    """Return the folders in which the package of a class is."""
    package = sys.modules[reference.partition(":")[0].partition(".")[0]]
    folders = list(getattr(package, "__path__", ()))
    return {Path(folder).parent for folder in folders} or {Path(str(package.__file__)).parent}

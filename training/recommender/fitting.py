"""Fit several algorithms on one data set, with a progress bar for each."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from rich.progress import Progress as Bars

from models.blas import use_threads
from models.recommender.dataset.dataset import Dataset
from models.recommender.ranking.two_stage import TwoStage
from models.recommender.registry import AnyAlgorithm
from training.report import console, note

_LONG_S = 10
_Fit = Callable[[AnyAlgorithm], AnyAlgorithm]


def fit_all(unfitted: Mapping[str, AnyAlgorithm], dataset: Dataset) -> dict[str, AnyAlgorithm]:
    """Return fitted copies of the algorithms, by name.

    A two-level model is fitted first. It occupies all cores but the last of its steps, and the other algorithms are
    fitted next to it, one after the other. An algorithm that equals a retriever of the two-level model is that
    retriever.
    """
    # With the time that remains.
    bars = Bars(console=console, transient=True, disable=not console.is_terminal)

    def fit(each: AnyAlgorithm) -> AnyAlgorithm:
        started = time.perf_counter()
        task = bars.add_task(each.name, total=None)
        fitted: AnyAlgorithm = type(each)(each.params).fit(
            dataset, progress=lambda done, total: bars.update(task, completed=done, total=total)
        )
        bars.remove_task(task)
        if (seconds := time.perf_counter() - started) >= _LONG_S:
            note(f"{each.name} is fitted, {seconds:.0f} s")
        return fitted

    with bars:
        fitted = _fit_with_two_level(unfitted, fit)
    return {name: fitted[name] for name in unfitted}


def _fit_with_two_level(unfitted: Mapping[str, AnyAlgorithm], fit: _Fit) -> dict[str, AnyAlgorithm]:
    two_level = next((each for each in unfitted.values() if isinstance(each, TwoStage)), None)
    if two_level is None:
        return {name: fit(each) for name, each in unfitted.items()}
    retrievers = {name: two_level.retriever(name) for name in two_level.params.retrievers}
    shared = {name for name, each in unfitted.items() if name in retrievers and retrievers[name].params == each.params}
    others = [name for name in unfitted if name not in shared and name != two_level.name]
    # One BLAS thread for each: a limit that two threads set and restore at different times would not be restored. It
    # holds for libraries that are loaded, such as that of scipy.linalg.
    importlib.import_module("scipy.linalg")
    with use_threads(1), ThreadPoolExecutor(1) as pool:
        fitting = pool.submit(fit, two_level)
        fitted = {name: fit(unfitted[name]) for name in others}
        result = fitting.result()
    if isinstance(result, TwoStage):
        fitted |= {name: result.retrievers_[name] for name in shared}
    return {**fitted, two_level.name: result}

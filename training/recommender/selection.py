"""Choose the algorithms that are fitted: those of the command line that the data permits."""

from __future__ import annotations

import dataclasses

from models.errors import DataInvalid
from models.recommender.dataset.dataset import Dataset
from models.recommender.ranking.two_stage import TwoStage, TwoStageParams
from models.recommender.registry import AnyAlgorithm
from training.recommender.params import DEFAULT_ALGORITHMS, Params, algorithm
from training.report import note

_BY_CONTENT = ("content", "content-knn")


def choose(params: Params, dataset: Dataset) -> dict[str, AnyAlgorithm]:
    """Return the unfitted algorithms of `params` by name; the first is served by default.

    An algorithm that the data does not permit is left out of the default list, with a line on the console. When the
    command line names it, DataInvalid is raised. A default retriever of two-level is left out in both cases.
    """
    is_default = params.algorithms == DEFAULT_ALGORITHMS
    chosen: dict[str, AnyAlgorithm] = {}
    for name in params.algorithms:
        unfitted = algorithm(params, name)
        if isinstance(unfitted, TwoStage):
            unfitted = _with_permitted_retrievers(unfitted, dataset)
        if obstacle := _obstacle(unfitted, dataset):
            if not is_default:
                raise DataInvalid(f"{name} {obstacle}; {_remedy(unfitted, dataset)}, or leave it out of --algorithms")
            note(f"{name} is left out: it {obstacle}; {_remedy(unfitted, dataset)} to have it")
            continue
        chosen[name] = unfitted
    return chosen


def _with_permitted_retrievers(unfitted: TwoStage, dataset: Dataset) -> TwoStage:
    retrievers = {name: unfitted.retriever(name) for name in unfitted.params.retrievers}
    permitted = tuple(name for name, each in retrievers.items() if not _obstacle(each, dataset))
    for name in [name for name in retrievers if name not in permitted]:
        obstacle = _obstacle(retrievers[name], dataset)
        if unfitted.params.retrievers != TwoStageParams().retrievers:
            remedy = _remedy(retrievers[name], dataset, owner=f"{unfitted.name}.settings=")
            raise DataInvalid(f"{name}, a retriever of {unfitted.name}, {obstacle}; {remedy}, or choose others")
        note(f"{unfitted.name} has the retrievers {' and '.join(permitted)}, without {name}, which {obstacle}")
        unfitted = TwoStage(dataclasses.replace(unfitted.params, retrievers=permitted))
    return unfitted


def _obstacle(unfitted: AnyAlgorithm, dataset: Dataset) -> str:
    """Return what the algorithm needs that the data or its settings do not permit; empty when it can be fitted."""
    if unfitted.name in _BY_CONTENT and dataset.item_features is None:
        return "needs attributes of items"
    most: int | None = getattr(unfitted.params, "max_items", None)
    if most is None or dataset.items <= most:
        return ""
    # One matrix of float64, and its inverse.
    size = 2 * 8 * dataset.items**2 / 2**30
    return f"needs {size:,.0f} GiB for a dense matrix of {dataset.items:,} items, and its limit is {most:,} items"


def _remedy(unfitted: AnyAlgorithm, dataset: Dataset, *, owner: str = "") -> str:
    if unfitted.name in _BY_CONTENT:
        return "give --items"
    return f"give --set {owner}{unfitted.name}.max_items={dataset.items}"

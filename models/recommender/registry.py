"""The registry of algorithms by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from models.errors import InvalidInput
from models.recommender.algorithms.base import Algorithm, Capability
from models.recommender.algorithms.content import Content, ContentNeighbours
from models.recommender.algorithms.ease import Ease
from models.recommender.algorithms.ease_session import EaseSession
from models.recommender.algorithms.fastrp import FastRP, FastRPItem
from models.recommender.algorithms.implicit_factors import Als, Bpr, Lmf
from models.recommender.algorithms.lightfm_factors import LightFMBpr, LightFMWarp
from models.recommender.algorithms.neighbours import ItemNeighbours, UserNeighbours
from models.recommender.algorithms.popularity import Popularity
from models.recommender.ranking.two_stage import TwoStage

# Any: each algorithm has a dataclass of hyperparameters.
AnyAlgorithm = Algorithm[Any]


class Registry:
    """A registry of algorithm classes by name."""

    def __init__(self) -> None:
        self._classes: dict[str, type[AnyAlgorithm]] = {}

    def add(self, algorithm: type[AnyAlgorithm]) -> None:
        """Register a class under its `name`. Raise ValueError for a duplicate name."""
        if algorithm.name in self._classes:
            raise ValueError(f"algorithm '{algorithm.name}' is registered already")
        self._classes[algorithm.name] = algorithm

    def names(self) -> tuple[str, ...]:
        return tuple(self._classes)

    def find(self, name: str) -> type[AnyAlgorithm]:
        """Return the class of that name. Raise InvalidInput, listing the known names."""
        if name not in self._classes:
            raise InvalidInput(f"no algorithm '{name}'; known: {', '.join(self._classes)}")
        return self._classes[name]

    def create(self, name: str, params: Mapping[str, object] | None = None) -> AnyAlgorithm:
        """Create an algorithm with these hyperparameters. Raise InvalidInput for unknown names."""
        algorithm = self.find(name)
        known = {field.name for field in dataclasses.fields(algorithm.params_type)}
        if unknown := sorted(set(params or ()) - known):
            raise InvalidInput(f"algorithm '{name}' has no parameter '{unknown[0]}'; known: {', '.join(sorted(known))}")
        # JSON has lists instead of tuples.
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in (params or {}).items()}
        return algorithm(algorithm.params_type(**values))

    def supporting(self, capability: Capability) -> tuple[str, ...]:
        """Return the names of the algorithms with a capability."""
        return tuple(name for name, algorithm in self._classes.items() if capability in algorithm.capabilities)


ALGORITHMS = Registry()
for _algorithm in (
    Popularity,
    Content,
    ContentNeighbours,
    ItemNeighbours,
    UserNeighbours,
    Ease,
    EaseSession,
    LightFMWarp,
    LightFMBpr,
    Als,
    Bpr,
    Lmf,
    FastRP,
    FastRPItem,
    TwoStage,
):
    ALGORITHMS.add(_algorithm)
TwoStage.retriever_types = {name: ALGORITHMS.find(name) for name in ALGORITHMS.names() if name != TwoStage.name}

"""Every algorithm by its name. Knows names and classes; refuses the same name twice."""

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

# Any: every algorithm has its own dataclass of hyperparameters.
AnyAlgorithm = Algorithm[Any]


class Registry:
    """Algorithm classes by name."""

    def __init__(self) -> None:
        self._known: dict[str, type[AnyAlgorithm]] = {}

    def add(self, algorithm: type[AnyAlgorithm]) -> None:
        """Register a class under its `name`. Raises ValueError when the name is taken."""
        if algorithm.name in self._known:
            raise ValueError(f"algorithm '{algorithm.name}' is registered already")
        self._known[algorithm.name] = algorithm

    def names(self) -> tuple[str, ...]:
        return tuple(self._known)

    def find(self, name: str) -> type[AnyAlgorithm]:
        """The class of that name. Raises InvalidInput listing the known ones."""
        if name not in self._known:
            raise InvalidInput(f"no algorithm '{name}'; known: {', '.join(self._known)}")
        return self._known[name]

    def create(self, name: str, params: Mapping[str, object] | None = None) -> AnyAlgorithm:
        """A new algorithm with these hyperparameters. Raises InvalidInput for names that it does not have."""
        kind = self.find(name)
        known = {field.name for field in dataclasses.fields(kind.params_type)}
        if unknown := sorted(set(params or ()) - known):
            raise InvalidInput(f"algorithm '{name}' has no parameter '{unknown[0]}'; known: {', '.join(sorted(known))}")
        # JSON has no tuples.
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in (params or {}).items()}
        return kind(kind.params_type(**given))

    def able(self, capability: Capability) -> tuple[str, ...]:
        """Names of the algorithms that can do something."""
        return tuple(name for name, kind in self._known.items() if capability in kind.capabilities)


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
TwoStage.kinds = {name: ALGORITHMS.find(name) for name in ALGORITHMS.names() if name != TwoStage.name}

"""Traffic split of one model: shares of its versions by weight, with the same version for each caller every time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """How the requests to one model are split.

    `weights` are shares by version that add up to one; without any, the default version gets all requests. A version of
    weight 0 answers the requests that name it. The answers of `shadow` are compared and discarded.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    shadow: str | None = None

    @property
    def versions(self) -> tuple[str, ...]:
        """Every version that must be loaded for it."""
        shadow = (self.shadow,) if self.shadow else ()
        return tuple(dict.fromkeys((*self.weights, *shadow)))

    def choose(self, unit: str) -> str:
        """Return the version for `unit`, such as one user; empty for the default one.

        Weighted rendezvous hashing (Schindelhauer and Schomaker, 2005): each version scores -ln(u) / weight, where u
        depends on the version and the unit only, and the lowest score wins. Shares are exact in expectation, and a unit
        changes only to a version whose share has grown, or from one whose share has shrunk.
        """
        chosen, lowest = "", math.inf
        for version, weight in self.weights.items():
            if weight <= 0:
                continue
            score = -math.log(_uniform(f"{version}\0{unit}")) / weight
            if score < lowest:
                chosen, lowest = version, score
        return chosen


NO_SPLIT = TrafficSplit()


def _uniform(text: str) -> float:
    """Return a number in (0, 1) that depends on `text` only."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 11) + 0.5) / 2**53

"""Which version of a model answers whom: shares by weight, each caller always the same. Knows numbers, no models."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """How the requests to one model are shared out.

    `weights` are shares by version, which add up to one; without any, the version that answers by default has all. One
    of weight 0 answers those who name it. What `shadow` answers is compared and thrown away.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    shadow: str | None = None

    @property
    def versions(self) -> tuple[str, ...]:
        """Every version that has to be loaded for it."""
        shadow = (self.shadow,) if self.shadow else ()
        return tuple(dict.fromkeys((*self.weights, *shadow)))

    def choose(self, unit: str) -> str:
        """The version that answers `unit`, such as one user; empty for the one that answers by default.

        Weighted rendezvous hashing (Schindelhauer and Schomaker, 2005): each version draws -ln(u) / weight with a u
        that only it and the unit decide, and the least wins. Shares are exact in expectation, and a unit changes its
        version only to one whose share has grown, or from one whose share has shrunk.
        """
        chosen, least = "", math.inf
        for version, weight in self.weights.items():
            if weight <= 0:
                continue
            drawn = -math.log(_uniform(f"{version}\0{unit}")) / weight
            if drawn < least:
                chosen, least = version, drawn
        return chosen


NO_SPLIT = TrafficSplit()


def _uniform(text: str) -> float:
    """A number in (0, 1) that `text` alone decides."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 11) + 0.5) / 2**53

"""Identities, their roles, and the access that an operation requires."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# The access that an operation requires. `probe` and `docs` are open or require the role `read`, by setting.
Access = Literal["probe", "docs", "read", "predict", "admin"]
Role = Literal["read", "predict", "admin"]

ROLES: tuple[Role, ...] = ("read", "predict", "admin")
# Each role includes the roles before it.
_RANK = {role: rank for rank, role in enumerate(ROLES)}


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller. `name` is the name of its key, or the subject of its token."""

    name: str
    roles: frozenset[Role]

    def may(self, role: Role) -> bool:
        """Return whether one of the roles includes `role`."""
        return any(_RANK[own] >= _RANK[role] for own in self.roles)


ANONYMOUS = Identity("", frozenset())


def roles_among(words: Iterable[str]) -> frozenset[Role]:
    """Return the roles among `words`; other words are ignored."""
    names = set(words)
    return frozenset(role for role in ROLES if role in names)

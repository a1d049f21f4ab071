"""Identities, their roles, and the access that an operation requires."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

# The access that an operation requires. `probe` and `docs` are open or require the role `read`, by setting.
Access = Literal["probe", "docs", "read", "predict", "admin"]
Role = Literal["read", "predict", "admin"]

ROLES: tuple[Role, ...] = ("read", "predict", "admin")
# The word next to the roles that binds a key or a token to the priority `batch`.
BATCH: Final = "batch"
# Each role includes the roles before it.
_RANK = {role: rank for rank, role in enumerate(ROLES)}


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller. `name` is the name of its key, or the subject of its token.

    All requests of a caller that `is_batch` have the priority `batch`.
    """

    name: str
    roles: frozenset[Role]
    is_batch: bool = False

    def may(self, role: Role) -> bool:
        """Return whether one of the roles includes `role`."""
        return any(_RANK[own] >= _RANK[role] for own in self.roles)


ANONYMOUS = Identity("", frozenset())


def identity_of(name: str, words: Iterable[str]) -> Identity:
    """Return the identity with the roles among `words`, and with the priority `batch` where it is among them.

    Other words are ignored.
    """
    names = set(words)
    return Identity(name, frozenset(role for role in ROLES if role in names), is_batch=BATCH in names)

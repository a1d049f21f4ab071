"""Who calls, and what each operation asks of its caller. Knows roles and names, no keys and no HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# What an operation asks for. `probe` and `docs` are open, or ask for `read`, by setting.
Access = Literal["probe", "docs", "read", "predict", "admin"]
Role = Literal["read", "predict", "admin"]

ROLES: tuple[Role, ...] = ("read", "predict", "admin")
# A role may do what the roles before it may: who predicts has to read the schema, who administers has to see.
_RANK = {role: rank for rank, role in enumerate(ROLES)}


@dataclass(frozen=True, slots=True)
class Identity:
    """One caller that proved who it is. `name` is that of its key, or the subject of its token."""

    name: str
    roles: frozenset[Role]

    def may(self, role: Role) -> bool:
        """Whether one of its roles includes `role`."""
        return any(_RANK[own] >= _RANK[role] for own in self.roles)


ANONYMOUS = Identity("", frozenset())


def roles_among(words: Iterable[str]) -> frozenset[Role]:
    """The roles that `words` name; other words are left out."""
    wanted = set(words)
    return frozenset(role for role in ROLES if role in wanted)

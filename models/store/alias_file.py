"""The aliases of one model's versions and their history: `aliases.json` in the model's folder of the store.

An alias such as `champion` names one version, and is moved to others. The file is replaced by one rename under a lock:
concurrent changes lose nothing, and readers see whole files.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from models.errors import ArtifactInvalid
from models.store.atomic_file import write_atomically

ALIASES_FILE = "aliases.json"
# Of one alias. Older changes are dropped.
MAX_CHANGES = 100
# At most 63 characters, like the name of an artifact.
ALIAS_PATTERN = r"^[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?$"
LOCK_FILE = "aliases.lock"

_ALIAS = re.compile(ALIAS_PATTERN)

# A version is the name of a folder.
_VERSION = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
Version = Annotated[str, Field(pattern=_VERSION)]
Action = Literal["set", "promote", "rollback", "remove"]


class AliasesInvalid(ArtifactInvalid):
    """A file of aliases that cannot be read."""


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One change of an alias: the version that it names since, None for a removal; when, by whom and why.

    `overridden` is the objection of the quality gate that a forced promotion has overridden.
    """

    version: Version | None
    action: Action
    at: datetime
    author: str
    reason: str = ""
    overridden: str = ""


# The changes of one alias, the last one at the end.
History = tuple[AliasChange, ...]


@dataclass(frozen=True, slots=True)
class _Content:
    aliases: Mapping[str, History] = field(default_factory=dict)
    schema: Literal[1] = 1


_CONTENT = TypeAdapter(_Content)


def is_alias(name: str) -> bool:
    """Return whether `name` is permitted as an alias. `latest` is not: training moves it."""
    return bool(_ALIAS.fullmatch(name)) and name != "latest"


def read_aliases(folder: Path) -> dict[str, History]:
    """Return the history of each alias, removed ones included. Raise AliasesInvalid."""
    try:
        return dict(_CONTENT.validate_json((folder / ALIASES_FILE).read_bytes()).aliases)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its content is malformed"
        raise AliasesInvalid(f"{ALIASES_FILE} of artifact '{folder.name}' cannot be read: {reason}") from error


def target_of(folder: Path, alias: str) -> str | None:
    """Return the version that an alias names, or None where there is no such alias. Raise as `read_aliases`."""
    history = read_aliases(folder).get(alias)
    return history[-1].version if history else None


def targets(folder: Path) -> dict[str, str]:
    """Return the version that each alias names. Raise as `read_aliases`."""
    last = {alias: history[-1].version for alias, history in read_aliases(folder).items() if history}
    return {alias: version for alias, version in last.items() if version is not None}


@contextlib.contextmanager
def changing_aliases(folder: Path) -> Iterator[dict[str, History]]:
    """Yield the histories under the lock of all writers of this host, and write them if the block changes them.

    An exception of the block changes nothing. Raise as `read_aliases`, and OSError.
    """
    with (folder / LOCK_FILE).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        histories = read_aliases(folder)
        before = dict(histories)
        yield histories
        if histories != before:
            content = _Content({alias: history[-MAX_CHANGES:] for alias, history in histories.items()})
            write_atomically(folder / ALIASES_FILE, _CONTENT.dump_json(content, indent=2))

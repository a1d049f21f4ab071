"""API keys: made, written as lines without the key itself, and found again by its hash. Knows no HTTP.

    python -m serving.keys new --name shop --role predict [--days 90]
    python -m serving.keys hash --name shop --role predict     (the key on standard input)

A line is `name:role:sha256` or `name:role:sha256:expires`, several roles joined by `+`. A key is 32 random bytes, so a
plain SHA-256 hides it: there is nothing to guess. Two lines of one name are two keys, which is how a key is rotated.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import logging
import re
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from models.errors import SettingsInvalid
from serving.access.roles import ROLES, Identity, roles_among

log = logging.getLogger("makunouchi.keys")

PREFIX = "mk_"
KEY_BYTES = 32
# A file of keys is looked at this often, so that a key is added or withdrawn without a restart.
LOOK_EVERY_S = 1.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_PLACEHOLDERS = (
    "", "admin", "api-key", "apikey", "change-me", "changeit", "changeme", "default", "example", "key", "letmein",
    "mk_", "password", "placeholder", "secret", "test", "token", "your-api-key", "your-key-here", "xxx",
)  # fmt: skip


def hash_of(key: str) -> str:
    """What is stored of a key: its SHA-256 in hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


PLACEHOLDER_HASHES = frozenset(hash_of(word) for word in _PLACEHOLDERS)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One line. `expires` is in Unix seconds, infinite for a key that does not."""

    identity: Identity
    sha256: str
    expires: float = float("inf")


def new_key() -> str:
    """A key nobody can guess."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def read_keys(text: str) -> tuple[ApiKey, ...]:
    """The keys of `text`: lines, or words apart by commas; `#` begins a comment.

    Raises SettingsInvalid that names the line by its number or its name, never by its hash.
    """
    words = [word for line in text.splitlines() for word in line.partition("#")[0].replace(",", " ").split()]
    return tuple(_read(word, number) for number, word in enumerate(words, 1))


def _read(word: str, number: int) -> ApiKey:
    name, roles, sha256, expires = (*word.split(":", 3), "", "", "", "")[:4]
    if not _NAME.fullmatch(name):
        raise SettingsInvalid(f"API key {number}: a line is name:role:sha256[:expires], and a name letters and digits")
    given = roles.split("+")
    if not set(given) <= set(ROLES):
        raise SettingsInvalid(f"API key '{name}': its role has to be of {', '.join(ROLES)}, joined by + where several")
    if not _HASH.fullmatch(sha256):
        raise SettingsInvalid(f"API key '{name}': not a SHA-256 in 64 digits; run: python -m serving.keys new")
    return ApiKey(Identity(name, roles_among(given)), sha256, _expiry(name, expires))


def _expiry(name: str, text: str) -> float:
    if not text:
        return float("inf")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsInvalid(f"API key '{name}': '{text}' is no date such as 2027-01-31") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class KeyRing:
    """The keys that are accepted: those of the settings, and those of a file that may change meanwhile."""

    def __init__(self, text: str = "", *, file: str = "", clock: Callable[[], float] = time.time) -> None:
        self._fixed = read_keys(text)
        self._file = Path(file) if file else None
        self._clock = clock
        self._looked = clock()
        self._seen: tuple[int, int] | None = None
        self._from_file: tuple[ApiKey, ...] = ()
        if self._file is not None:
            try:
                self._load(self._file)
            except OSError as error:
                raise SettingsInvalid(f"the file of API keys cannot be read: {error.strerror}") from error

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """Every key, expired ones too."""
        return self._fixed + self._from_file

    def find(self, key: str) -> Identity | None:
        """Whose key this is, or None. Takes as long whichever key it is, or none."""
        now = self._clock()
        self._look(now)
        offered = hash_of(key)
        found: Identity | None = None
        for each in self.keys:
            if hmac.compare_digest(each.sha256, offered) and now < each.expires:
                found = each.identity
        return found

    def _look(self, now: float) -> None:
        if self._file is None or 0 <= now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        try:
            self._load(self._file)
        except (OSError, SettingsInvalid) as error:
            log.error("the file of API keys cannot be used, the keys stay as they were: %s", error)

    def _load(self, file: Path) -> None:
        stat = file.stat()
        seen = (stat.st_mtime_ns, stat.st_size)
        if seen != self._seen:
            self._from_file = read_keys(file.read_text(encoding="utf-8"))
            self._seen = seen


def main(arguments: Sequence[str] | None = None) -> None:
    """Make a key, or the line of a key that there is already."""
    parser = argparse.ArgumentParser(prog="python -m serving.keys", description="Make API keys.")
    parser.add_argument("what", choices=["new", "hash"])
    parser.add_argument("--name", required=True)
    parser.add_argument("--role", required=True, help="read, predict or admin; several joined by +")
    parser.add_argument("--days", type=float, default=0.0, help="how long it is good for; for ever when left out")
    options = parser.parse_args(arguments)
    key = new_key() if options.what == "new" else sys.stdin.readline().strip()
    line = f"{options.name}:{options.role}:{hash_of(key)}"
    if options.days:
        line += (datetime.now(UTC) + timedelta(days=options.days)).strftime(":%Y-%m-%dT%H:%M:%SZ")
    read_keys(line)
    if options.what == "new":
        sys.stderr.write("The key, shown this once, for the client's X-API-Key:\n")
        sys.stdout.write(f"{key}\n")
        sys.stderr.write("The line to store in MAKUNOUCHI_API_KEYS or the file of MAKUNOUCHI_API_KEYS_FILE:\n")
    sys.stdout.write(f"{line}\n")

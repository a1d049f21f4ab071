"""API keys: their creation, their storage as hashes, and their lookup.

    python -m serving.keys new --name shop --role predict [--days 90]
    python -m serving.keys hash --name shop --role predict     (key on standard input)

A line is `name:role:sha256` or `name:role:sha256:expires`; several roles are joined by `+`. A key is 32 random bytes,
so a plain SHA-256 protects it. Two lines of one name are two keys, which allows a key to be rotated.
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
# How often the file of keys is checked for changes.
CHECK_EVERY_S = 1.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_PLACEHOLDERS = (
    "", "admin", "api-key", "apikey", "change-me", "changeit", "changeme", "default", "example", "key", "letmein",
    "mk_", "password", "placeholder", "secret", "test", "token", "your-api-key", "your-key-here", "xxx",
)  # fmt: skip


def hash_of(key: str) -> str:
    """Return the SHA-256 of a key in hexadecimal, which is stored instead of the key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


PLACEHOLDER_HASHES = frozenset(hash_of(word) for word in _PLACEHOLDERS)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key. `expires` is in Unix seconds; infinity means never."""

    identity: Identity
    sha256: str
    expires: float = float("inf")


def new_key() -> str:
    """Return a new random key."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def read_keys(text: str) -> tuple[ApiKey, ...]:
    """Return the keys in `text`, one per line or separated by commas; `#` begins a comment.

    Raises SettingsInvalid with the number or the name of the key, never its hash.
    """
    words = [word for line in text.splitlines() for word in line.partition("#")[0].replace(",", " ").split()]
    return tuple(_read(word, number) for number, word in enumerate(words, 1))


def _read(word: str, number: int) -> ApiKey:
    name, roles, sha256, expires = (*word.split(":", 3), "", "", "", "")[:4]
    if not _NAME.fullmatch(name):
        raise SettingsInvalid(
            f"API key {number}: expected name:role:sha256[:expires], with a name of letters and digits"
        )
    role_names = roles.split("+")
    if not set(role_names) <= set(ROLES):
        raise SettingsInvalid(f"API key '{name}': unknown role; expected {', '.join(ROLES)}, or several joined by +")
    if not _HASH.fullmatch(sha256):
        raise SettingsInvalid(
            f"API key '{name}': expected a SHA-256 of 64 hexadecimal digits; run: python -m serving.keys new"
        )
    return ApiKey(Identity(name, roles_among(role_names)), sha256, _expiry(name, expires))


def _expiry(name: str, text: str) -> float:
    if not text:
        return float("inf")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsInvalid(f"API key '{name}': '{text}' is not a date; expected the form 2027-01-31") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class KeyRing:
    """The accepted keys: those of the settings and those of a file, which is reloaded when it changes."""

    def __init__(self, text: str = "", *, file: str = "", clock: Callable[[], float] = time.time) -> None:
        self._fixed = read_keys(text)
        self._file = Path(file) if file else None
        self._clock = clock
        self._checked = clock()
        self._file_state: tuple[int, int] | None = None
        self._from_file: tuple[ApiKey, ...] = ()
        if self._file is not None:
            try:
                self._load(self._file)
            except OSError as error:
                raise SettingsInvalid(f"cannot read the file of API keys: {error.strerror}") from error

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """All keys, including expired ones."""
        return self._fixed + self._from_file

    def find(self, key: str) -> Identity | None:
        """Return the identity of a key, or None. Takes constant time for any number of matches."""
        now = self._clock()
        self._reload_if_changed(now)
        sha256 = hash_of(key)
        identity: Identity | None = None
        for each in self.keys:
            if hmac.compare_digest(each.sha256, sha256) and now < each.expires:
                identity = each.identity
        return identity

    def _reload_if_changed(self, now: float) -> None:
        if self._file is None or 0 <= now - self._checked < CHECK_EVERY_S:
            return
        self._checked = now
        try:
            self._load(self._file)
        except (OSError, SettingsInvalid) as error:
            log.error("cannot reload the file of API keys, the previous keys remain valid: %s", error)

    def _load(self, file: Path) -> None:
        stat = file.stat()
        state = (stat.st_mtime_ns, stat.st_size)
        if state != self._file_state:
            self._from_file = read_keys(file.read_text(encoding="utf-8"))
            self._file_state = state


def main(arguments: Sequence[str] | None = None) -> None:
    """Create a key, or print the line of an existing key."""
    parser = argparse.ArgumentParser(prog="python -m serving.keys", description="Create API keys.")
    parser.add_argument("what", choices=["new", "hash"])
    parser.add_argument("--name", required=True)
    parser.add_argument("--role", required=True, help="read, predict or admin; several joined by +")
    parser.add_argument("--days", type=float, default=0.0, help="days until the key expires; never by default")
    options = parser.parse_args(arguments)
    key = new_key() if options.what == "new" else sys.stdin.readline().strip()
    line = f"{options.name}:{options.role}:{hash_of(key)}"
    if options.days:
        line += (datetime.now(UTC) + timedelta(days=options.days)).strftime(":%Y-%m-%dT%H:%M:%SZ")
    read_keys(line)
    if options.what == "new":
        sys.stderr.write("The key for the client, which is not shown again:\n")
        sys.stdout.write(f"{key}\n")
        sys.stderr.write("The line for MAKUNOUCHI_API_KEYS or the file of MAKUNOUCHI_API_KEYS_FILE:\n")
    sys.stdout.write(f"{line}\n")

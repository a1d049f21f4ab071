"""API keys: their creation, their storage as hashes, and their lookup.

    python -m serving.keys new --name shop --role predict [--days 90] [--file keys]
    python -m serving.keys hash --name shop --role predict     (key on standard input)

A line is `name:role:sha256` or `name:role:sha256:expires`; several roles are joined by `+`, and `+batch` binds the key
to that priority. A key is 32 random bytes, so a plain SHA-256 protects it. Two lines of one name are two keys, which
allows a key to be rotated.
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
from models.private_files import make_private_file
from models.watch import Watch, reason_of
from serving.access.roles import BATCH, ROLES, Identity, identity_of

log = logging.getLogger("makunouchi.keys")

PREFIX = "mk_"
KEY_BYTES = 32
# How often the file of keys is checked for changes.
CHECK_EVERY_S = 1.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
# What `new_key` returns, and any text that begins like one and is too long for the name of a caller.
_KEY = re.compile(r"mk_[A-Za-z0-9_-]{20,}")
_FORM = "name:role:sha256[:expires]"
_COMMAND = "python -m serving.keys new"
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

    Raises SettingsInvalid with the number of the entry, and with nothing of its text: it may be a key.
    """
    words = [word for line in text.splitlines() for word in line.partition("#")[0].replace(",", " ").split()]
    return tuple(_read(word, number) for number, word in enumerate(words, 1))


def _read(word: str, number: int) -> ApiKey:
    name, roles, sha256, expires = (*word.split(":", 3), "", "", "", "")[:4]
    if not _NAME.fullmatch(name):
        raise SettingsInvalid(f"API key {number}: expected {_FORM}, with a name of letters and digits")
    if _KEY.fullmatch(name):
        raise SettingsInvalid(f"API key {number}: it is the key itself; expected {_FORM}; run: {_COMMAND}")
    role_names = roles.split("+")
    if not set(role_names) <= {*ROLES, BATCH}:
        raise SettingsInvalid(f"API key {number}: unknown role; expected {', '.join(ROLES)}, or several joined by +")
    if role_names == [BATCH]:
        raise SettingsInvalid(
            f"API key {number}: '{BATCH}' is a priority; expected a role before it, such as predict+batch"
        )
    if not _HASH.fullmatch(sha256):
        raise SettingsInvalid(f"API key {number}: expected a SHA-256 of 64 hexadecimal digits; run: {_COMMAND}")
    try:
        return ApiKey(identity_of(name, role_names), sha256, _expiry(expires))
    except ValueError:
        # Without the text of the error, which quotes what was given.
        raise SettingsInvalid(f"API key {number}: its end is not a date; expected the form 2027-01-31") from None


def _expiry(text: str) -> float:
    if not text:
        return float("inf")
    moment = datetime.fromisoformat(text)
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
        self._watch = Watch(
            "api_keys_file", "read the file of API keys", keeps="the previous keys remain valid", log=log
        )
        if self._file is not None:
            try:
                self._load(self._file)
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsInvalid(f"cannot read the file of API keys: {reason_of(error)}") from error

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
        with self._watch.attempt():
            self._load(self._file)

    def _load(self, file: Path) -> None:
        stat = file.stat()
        state = (stat.st_mtime_ns, stat.st_size)
        if state != self._file_state:
            self._from_file = read_keys(file.read_text(encoding="utf-8-sig"))
            self._file_state = state


def main(arguments: Sequence[str] | None = None) -> None:
    """Create a key, or print the line of an existing key."""
    parser = argparse.ArgumentParser(prog="python -m serving.keys", description="Create API keys.")
    parser.add_argument("what", choices=["new", "hash"])
    parser.add_argument("--name", required=True)
    parser.add_argument(
        "--role", required=True, help="read, predict or admin; several joined by +, and +batch for that priority"
    )
    parser.add_argument("--days", type=float, default=0.0, help="days until the key expires; never by default")
    parser.add_argument("--file", help="append the line to this file, which only its owner can read then")
    options = parser.parse_args(arguments)
    key = new_key() if options.what == "new" else sys.stdin.readline().strip()
    line = f"{options.name}:{options.role}:{hash_of(key)}"
    if options.days:
        line += (datetime.now(UTC) + timedelta(days=options.days)).strftime(":%Y-%m-%dT%H:%M:%SZ")
    read_keys(line)
    if options.file:
        _append(Path(options.file), line)
    if options.what == "new":
        sys.stderr.write("The key for the client, which is not shown again:\n")
        sys.stdout.write(f"{key}\n")
    if not options.file:
        sys.stderr.write("The line for MAKUNOUCHI_API_KEYS or the file of MAKUNOUCHI_API_KEYS_FILE:\n")
        sys.stdout.write(f"{line}\n")


def _append(file: Path, line: str) -> None:
    """Append a line to a file of keys. Raises SettingsInvalid."""
    try:
        make_private_file(file)
        content = file.read_bytes()
        separator = b"\n" if content and not content.endswith(b"\n") else b""
        with file.open("ab") as stream:
            stream.write(separator + line.encode() + b"\n")
    except OSError as error:
        raise SettingsInvalid(f"cannot write the file of API keys: {error.strerror}") from error

"""Checks of settings that depend on each other, and of the protection, before the service starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from models.errors import SettingsInvalid
from serving.access.api_keys import PLACEHOLDER_HASHES, ApiKey, KeyRing, hash_of
from serving.process.bounds import unavailable_cpus

if TYPE_CHECKING:
    from serving.settings.settings import Settings

_NO_SOCKETS = "BENTOML_NO_UDS"
_URLS = ("http://", "https://")
_JWT = ("jwt_issuer", "jwt_audience", "jwt_jwks")


def setting_faults(settings: Settings) -> Iterator[str]:
    """Yield each fault, with the name of the setting: incomplete protection, placeholders, excluded combinations."""
    keys, fault = _keys(settings)
    if fault:
        yield fault
    given = [name for name in _JWT if getattr(settings, name)]
    if given and len(given) < len(_JWT):
        missing = next(name for name in _JWT if name not in given)
        yield f"setting MAKUNOUCHI_{missing.upper()}: it is empty; tokens require an issuer, an audience and a key set"
    yield from _store_faults(settings)
    if missing_cpus := unavailable_cpus(settings.runner_cpus):
        yield f"setting MAKUNOUCHI_RUNNER_CPUS: this process may not run on {', '.join(map(str, missing_cpus))}"
    if settings.environment == "production":
        if not keys and not fault and not given:
            yield (
                "setting MAKUNOUCHI_API_KEYS: production requires an API key, or tokens (MAKUNOUCHI_JWT_...); "
                "run: python -m serving.keys new --name admin --role admin"
            )
        yield from _production_faults(settings, keys)


def _store_faults(settings: Settings) -> Iterator[str]:
    stores = {"RATE_LIMIT_STORE": settings.rate_limit_store, "CACHE_STORE": settings.cache_store}
    if not settings.redis_url.get_secret_value():
        for name in (name for name, store in stores.items() if store == "redis"):
            yield f"setting MAKUNOUCHI_REDIS_URL: it is empty, but MAKUNOUCHI_{name} is redis"
    if settings.cache_store == "redis" and not settings.cache_bytes:
        yield "setting MAKUNOUCHI_CACHE_BYTES: it is 0, which disables the cache, but MAKUNOUCHI_CACHE_STORE is redis"
    if settings.job_max_bytes > settings.job_max_disk_bytes:
        yield "setting MAKUNOUCHI_JOB_MAX_BYTES: it is larger than MAKUNOUCHI_JOB_MAX_DISK_BYTES, the space of all jobs"


def _production_faults(settings: Settings, keys: Sequence[ApiKey]) -> Iterator[str]:
    for key in keys:
        if key.sha256 in PLACEHOLDER_HASHES:
            yield f"setting MAKUNOUCHI_API_KEYS: the key of '{key.identity.name}' is a placeholder"
    # Without unix sockets BentoML connects the processes of one host over TCP, which every local user reaches.
    is_networked = any(getattr(settings, name).startswith(_URLS) for name in _fields(settings, "_placement"))
    if _NO_SOCKETS in os.environ or is_networked:
        yield from runner_token_faults(settings)
    if settings.jwt_jwks.startswith("http://"):
        yield "setting MAKUNOUCHI_JWT_JWKS: production requires an https:// address"
    for name in _fields(settings, "_url"):
        value = getattr(settings, name)
        if is_placeholder(value.get_secret_value() if name == "redis_url" else value):
            yield f"setting MAKUNOUCHI_{name.upper()}: its password is a placeholder"


def check_runner_token(settings: Settings) -> None:
    """Raise SettingsInvalid in production without a token for runners that are reached over a network."""
    for fault in runner_token_faults(settings):
        raise SettingsInvalid(fault)


def runner_token_faults(settings: Settings) -> Iterator[str]:
    """Yield the fault of a production without a token for runners that are reached over a network."""
    if settings.environment == "production" and not settings.runner_token.get_secret_value():
        yield (
            "setting MAKUNOUCHI_RUNNER_TOKEN: production requires it for a runner that is reached over TCP; run: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )


def _fields(settings: Settings, suffix: str) -> list[str]:
    return [name for name in type(settings).model_fields if name.endswith(suffix)]


def is_placeholder(url: str) -> bool:
    """Return whether the password in `url` is a well-known placeholder."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return False
    return bool(password) and hash_of(str(password).lower()) in PLACEHOLDER_HASHES


def _keys(settings: Settings) -> tuple[Sequence[ApiKey], str]:
    """Return the configured API keys, or why they cannot be read."""
    try:
        return KeyRing(settings.api_keys.get_secret_value(), file=settings.api_keys_file).keys, ""
    except SettingsInvalid as error:
        setting = "MAKUNOUCHI_API_KEYS_FILE" if settings.api_keys_file else "MAKUNOUCHI_API_KEYS"
        return (), f"setting {setting}: {error}"

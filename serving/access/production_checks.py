"""Checks of the security settings before the service starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from models.errors import SettingsInvalid
from serving.access.api_keys import PLACEHOLDER_HASHES, KeyRing, hash_of

if TYPE_CHECKING:
    from serving.settings.settings import Settings

_NO_SOCKETS = "BENTOML_NO_UDS"
_URLS = ("http://", "https://")
_JWT = ("jwt_issuer", "jwt_audience", "jwt_jwks")


def check_protection(settings: Settings) -> None:
    """Raise SettingsInvalid, with the name of the setting, if the protection is incomplete or uses placeholders."""
    keys = _keys(settings)
    given = [name for name in _JWT if getattr(settings, name)]
    if given and len(given) < len(_JWT):
        missing = next(name for name in _JWT if name not in given)
        raise SettingsInvalid(
            f"setting MAKUNOUCHI_{missing.upper()}: it is empty; tokens require an issuer, an audience and a key set"
        )
    if settings.rate_limit_store == "redis" and not settings.redis_url.get_secret_value():
        raise SettingsInvalid("setting MAKUNOUCHI_REDIS_URL: it is empty, but MAKUNOUCHI_RATE_LIMIT_STORE is redis")
    if settings.cache_bytes and settings.cache_store == "redis" and not settings.redis_url.get_secret_value():
        raise SettingsInvalid("setting MAKUNOUCHI_REDIS_URL: it is empty, but MAKUNOUCHI_CACHE_STORE is redis")
    if settings.environment != "production":
        return
    if not keys.keys and not given:
        raise SettingsInvalid(
            "setting MAKUNOUCHI_API_KEYS: production requires an API key, or tokens (MAKUNOUCHI_JWT_...); "
            "run: python -m serving.keys new --name admin --role admin"
        )
    for key in keys.keys:
        if key.sha256 in PLACEHOLDER_HASHES:
            raise SettingsInvalid(f"setting MAKUNOUCHI_API_KEYS: the key of '{key.identity.name}' is a placeholder")
    # Without unix sockets BentoML connects the processes of one host over TCP, which every local user reaches.
    if _NO_SOCKETS in os.environ or any(
        getattr(settings, name).startswith(_URLS) for name in _fields(settings, "_placement")
    ):
        check_runner_token(settings)
    if settings.jwt_jwks.startswith("http://"):
        raise SettingsInvalid("setting MAKUNOUCHI_JWT_JWKS: production requires an https:// address")
    for name in _fields(settings, "_url"):
        value = getattr(settings, name)
        if is_placeholder(value.get_secret_value() if name == "redis_url" else value):
            raise SettingsInvalid(f"setting MAKUNOUCHI_{name.upper()}: its password is a placeholder")


def check_runner_token(settings: Settings) -> None:
    """Raise SettingsInvalid in production without a token for runners that are reached over a network."""
    if settings.environment == "production" and not settings.runner_token.get_secret_value():
        raise SettingsInvalid(
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


def _keys(settings: Settings) -> KeyRing:
    try:
        return KeyRing(settings.api_keys.get_secret_value(), file=settings.api_keys_file)
    except SettingsInvalid as error:
        setting = "MAKUNOUCHI_API_KEYS_FILE" if settings.api_keys_file else "MAKUNOUCHI_API_KEYS"
        raise SettingsInvalid(f"setting {setting}: {error}") from error

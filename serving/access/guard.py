"""Lets a request in, or says why not: who calls, whether they may, whether so often. Knows headers, no routes.

Credentials come as `X-API-Key: <key>`, or as `Authorization: Bearer <key or token>`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import Scope

from serving.access.api_keys import KeyRing
from serving.access.rate_limits import HEADERS, RateLimits, build_rate_limits
from serving.access.roles import ANONYMOUS, Access, Identity, Role
from serving.access.tokens import TokenRules, TokenVerifier
from serving.errors.exceptions import Forbidden, Unauthenticated

if TYPE_CHECKING:
    from serving.settings.settings import Settings

log = logging.getLogger("makunouchi.guard")

KEY_HEADER = b"x-api-key"
_MAX_CREDENTIAL_BYTES = 8192
# Where a scope keeps who calls.
IDENTITY = "makunouchi.identity"


class Guard:
    """Knows who may call what. Without keys and tokens everything but administration is open to everybody."""

    def __init__(
        self,
        keys: KeyRing | None = None,
        tokens: TokenVerifier | None = None,
        limits: RateLimits | None = None,
        *,
        probes_access: str = "open",
        docs_access: str = "open",
    ) -> None:
        self._keys = keys or KeyRing()
        self._tokens = tokens
        self.limits = limits or RateLimits({})
        # A file of keys counts even while it is empty: emptied, it locks; it does not open.
        self.is_on = keys is not None or tokens is not None
        self.takes_tokens = tokens is not None
        self._needs: dict[Access, Role | None] = {
            "probe": "read" if probes_access == "read" else None,
            "docs": "read" if docs_access == "read" else None,
            "read": "read",
            "predict": "predict",
            "admin": "admin",
        }

    def needs(self, access: Access) -> Role | None:
        """The role that `access` takes, or None where anybody may."""
        role = self._needs[access]
        return role if self.is_on or role == "admin" else None

    async def admit(self, scope: Scope, access: Access) -> Identity:
        """Who calls, when they may; kept in `scope` too. For HTTP and for WebSockets.

        Raises Unauthenticated, Forbidden, KeysUnavailable, RateLimited, or LimitsUnavailable.
        """
        role = self.needs(access)
        if role is None or not self.is_on:
            if self.limits.is_on:
                await self.limits.check(scope, access, None)
            if role is not None:
                raise Forbidden("no admin key is configured, so nobody may do this; see docs/security.md")
            return ANONYMOUS
        try:
            identity = await self._identify(scope)
        except Unauthenticated:
            if self.limits.is_on:
                await self.limits.check(scope, access, None)
            raise
        if self.limits.is_on:
            await self.limits.check(scope, access, identity)
        if not identity.may(role):
            raise Forbidden(f"this takes the role '{role}'")
        scope[IDENTITY] = identity
        return identity

    def admits_at_once(self, headers: Sequence[tuple[bytes, bytes]], access: Access) -> bool:
        """Whether `admit` would let a request with `headers` in, where that is known without waiting.

        False is no refusal: `admit` tells.
        """
        if self.limits.limits(access):
            return False
        role = self.needs(access)
        if role is None:
            return True
        identity = self._keys.find(credential_of({"headers": headers}))
        return identity is not None and identity.may(role)

    def marked(self, scope: Scope, response: Response) -> Response:
        """`response` with what its caller is told about limits."""
        if self.limits.is_on and HEADERS in scope:
            response.headers.update(scope[HEADERS])
        return response

    async def _identify(self, scope: Scope) -> Identity:
        credential = credential_of(scope)
        if not credential:
            raise Unauthenticated("send an API key as X-API-Key, or a key or a token as Authorization: Bearer")
        if self._tokens is not None and credential.count(".") == 2 and self._keys.find(credential) is None:
            return await self._tokens.identify(credential)
        identity = self._keys.find(credential)
        if identity is None:
            raise Unauthenticated("the API key is not known, or has expired", is_wrong=True)
        return identity


def credential_of(scope: Scope) -> str:
    """The key or token that came with a request, or an empty string."""
    bearer = ""
    for name, value in scope["headers"]:
        if name == KEY_HEADER:
            return _text(value)
        if name == b"authorization":
            scheme, _, rest = _text(value).partition(" ")
            bearer = rest.strip() if scheme.lower() == "bearer" else bearer
    return bearer


def _text(value: bytes) -> str:
    return value.decode("latin-1") if len(value) <= _MAX_CREDENTIAL_BYTES else "?"


def build_guard(settings: Settings) -> Guard:
    """The guard that the settings ask for. Raises SettingsInvalid."""
    text, file = settings.api_keys.get_secret_value(), settings.api_keys_file
    rules = TokenRules(
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        jwks=settings.jwt_jwks,
        roles_claim=settings.jwt_roles_claim,
        keep_s=settings.jwt_jwks_keep_s,
    )
    return Guard(
        KeyRing(text, file=file) if text or file else None,
        TokenVerifier(rules) if rules.jwks else None,
        build_rate_limits(settings),
        probes_access=settings.probes_access,
        docs_access=settings.docs_access,
    )

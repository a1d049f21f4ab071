"""Access control of requests: authentication, authorization and rate limits.

Credentials are sent as `X-API-Key: <key>`, or as `Authorization: Bearer <key or token>`. A page in a browser cannot set
headers of a WebSocket: it offers the subprotocols `bearer` and the key or token.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import Scope

from serving.access.api_keys import KeyRing
from serving.access.callers import caller_key
from serving.access.rate_limits import HEADERS, RateLimits, build_rate_limits
from serving.access.roles import ANONYMOUS, Access, Identity, Role
from serving.access.tokens import TokenRules, TokenVerifier
from serving.context import set_caller
from serving.errors.exceptions import Forbidden, Unauthenticated

if TYPE_CHECKING:
    from serving.settings.settings import Settings

log = logging.getLogger("makunouchi.guard")

KEY_HEADER = b"x-api-key"
# The subprotocol of WebSockets before the one that is the credential.
BEARER = "bearer"
_MAX_CREDENTIAL_BYTES = 8192
# The key of a scope under which the identity of the caller is stored.
IDENTITY = "makunouchi.identity"
# The key of a scope that shows that the guard has admitted the request to an operation, not only to a page or a probe.
ADMITTED = "makunouchi.admitted"


class Guard:
    """The access rules. Without keys and tokens everything except administration is open."""

    def __init__(
        self,
        keys: KeyRing | None = None,
        tokens: TokenVerifier | None = None,
        limits: RateLimits | None = None,
        *,
        probes_access: str = "open",
        docs_access: str = "open",
        anonymous_role: Role | None = None,
    ) -> None:
        self._keys = keys or KeyRing()
        self._tokens = tokens
        self.limits = limits or RateLimits({})
        self._anonymous = ANONYMOUS if anonymous_role is None else Identity("", frozenset({anonymous_role}))
        # An empty file of keys refuses all requests.
        self.is_on = keys is not None or tokens is not None
        self.takes_tokens = tokens is not None
        self._roles: dict[Access, Role | None] = {
            "probe": "read" if probes_access == "read" else None,
            "docs": "read" if docs_access == "read" else None,
            "read": "read",
            "predict": "predict",
            "admin": "admin",
        }

    def required_role(self, access: Access) -> Role | None:
        """Return the role that `access` requires, or None if it is open."""
        role = self._roles[access]
        return role if self.is_on or role == "admin" else None

    def is_optional(self, access: Access) -> bool:
        """Return whether callers without credentials have the role that `access` requires."""
        role = self.required_role(access)
        return role is not None and self._anonymous.may(role)

    async def admit(self, scope: Scope, access: Access) -> Identity:
        """Return the identity of a caller that may proceed, and store it in `scope` and in the request context.

        Raises Unauthenticated, Forbidden, KeysUnavailable, RateLimited, or LimitsUnavailable.
        """
        identity = self.admit_now(scope["headers"], access) or await self._admit_after_checks(scope, access)
        if identity is not ANONYMOUS:
            scope[IDENTITY] = identity
        set_caller(lambda: caller_key(scope, identity, self.limits.trusted))
        if access not in ("probe", "docs"):
            scope[ADMITTED] = True
        return identity

    def admit_now(self, headers: Sequence[tuple[bytes, bytes]], access: Access) -> Identity | None:
        """Return the identity of a caller that may proceed without a wait: no limit applies, and the key is known.

        None does not mean that the caller is refused: `admit` decides.
        """
        if self.limits.limits(access):
            return None
        role = self.required_role(access)
        if role is None:
            return ANONYMOUS
        credential = credential_of({"headers": headers})
        if not credential and self._anonymous.may(role):
            return ANONYMOUS
        identity = self._keys.find(credential)
        return identity if identity is not None and identity.may(role) else None

    async def _admit_after_checks(self, scope: Scope, access: Access) -> Identity:
        role = self.required_role(access)
        identity: Identity | None = None
        refusal: Unauthenticated | None = None
        if role is not None and self.is_on:
            try:
                identity = await self._identify(scope, role)
            except Unauthenticated as error:
                refusal = error
        # Refused callers count too: guesses of keys are limited, also where other requests are not.
        if self.limits.is_on:
            counted = access if refusal is None else self.limits.class_of_refusals(access)
            await self.limits.check(scope, counted, identity)
        if refusal is not None:
            raise refusal
        if role is None or identity is self._anonymous:
            return ANONYMOUS
        if identity is None:
            raise Forbidden("administration requires an admin key, and none is configured; see docs/security.md")
        if not identity.may(role):
            raise Forbidden(f"this operation requires the role '{role}'")
        return identity

    def with_limit_headers(self, scope: Scope, response: Response) -> Response:
        """Add the rate limit headers of the request to `response`."""
        if self.limits.is_on and HEADERS in scope:
            response.headers.update(scope[HEADERS])
        return response

    async def _identify(self, scope: Scope, role: Role) -> Identity:
        credential = credential_of(scope)
        if not credential:
            if self._anonymous.may(role):
                return self._anonymous
            raise Unauthenticated("send an API key as X-API-Key, or an API key or a token as Authorization: Bearer")
        if self._tokens is not None and credential.count(".") == 2 and self._keys.find(credential) is None:
            return await self._tokens.identify(credential)
        identity = self._keys.find(credential)
        if identity is None:
            raise Unauthenticated("the API key is unknown or has expired", is_wrong=True)
        return identity


def caller_of(scope: Scope) -> Identity | None:
    """Return the identity of the caller of an admitted request; None where the service requires no credentials."""
    return scope.get(IDENTITY)


def owner_of(scope: Scope) -> str:
    """Return the owner of what a request creates: the name of the key or token, or an empty text."""
    caller = caller_of(scope)
    return caller.name if caller is not None else ""


def credential_of(scope: Scope) -> str:
    """Return the key or token of a request, or an empty string. An empty header counts as none."""
    bearer = ""
    for name, value in scope["headers"]:
        if name == KEY_HEADER and value:
            return _text(value)
        if name == b"authorization":
            scheme, _, rest = _text(value).partition(" ")
            bearer = rest.strip() if scheme.lower() == "bearer" else bearer
    return bearer or _offered(scope.get("subprotocols", ()))


def _offered(subprotocols: Sequence[str]) -> str:
    """Return the credential after the subprotocol `bearer` of a WebSocket, or an empty string."""
    for name, credential in pairwise(subprotocols):
        if name.lower() == BEARER:
            return credential if len(credential) <= _MAX_CREDENTIAL_BYTES else "?"
    return ""


def _text(value: bytes) -> str:
    return value.decode("latin-1") if len(value) <= _MAX_CREDENTIAL_BYTES else "?"


def build_guard(settings: Settings) -> Guard:
    """Return the guard that the settings define. Raises SettingsInvalid."""
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
        anonymous_role=None if settings.anonymous_role == "none" else settings.anonymous_role,
    )

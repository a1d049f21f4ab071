"""Signed tokens (JWT, RFC 7519) as the second way to prove who calls: issuer, audience, and the issuer's public keys.

The keys (JWKS, RFC 7517) come from a file or an https address. They are kept for a while; a token that names a key not
among them has them fetched anew, but not more often than REFETCH_S, or anybody could make this service fetch.
Knows no HTTP of ours.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.access.roles import Identity, roles_among
from serving.errors.exceptions import KeysUnavailable, Unauthenticated

log = logging.getLogger("makunouchi.tokens")

REFETCH_S = 10.0
FETCH_TIMEOUT_S = 5.0
LEEWAY_S = 30.0
_MAX_JWKS_BYTES = 1 << 20
# Public keys only: with a shared secret whoever can check a token can make one.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token has to say. `roles_claim` names the claim with the roles: a list, or words apart by spaces."""

    issuer: str
    audience: str
    jwks: str
    roles_claim: str = "roles"
    keep_s: float = 300.0


class TokenVerifier:
    """Checks tokens against `rules`."""

    def __init__(self, rules: TokenRules, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._keys: dict[str, Any] = {}  # Any: PyJWT's keys
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()

    async def identify(self, token: str) -> Identity:
        """Whose token this is. Raises Unauthenticated, or KeysUnavailable while there is no key to check it with."""
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise Unauthenticated("the token is not signed in a way that is accepted here")
            key = await self._key(str(header.get("kid", "")))
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name] if key.algorithm_name in ALGORITHMS else [],
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("the token has expired") from error
        except jwt.InvalidTokenError as error:
            raise Unauthenticated("the token is not valid here") from error
        said = claims.get(self._rules.roles_claim, ())
        words = said.split() if isinstance(said, str) else said if isinstance(said, list) else ()
        return Identity(f"jwt:{str(claims['sub'])[:100]}", roles_among(str(word) for word in words))

    async def _key(self, kid: str) -> Any:  # Any: PyJWT's PyJWK
        now = self._clock()
        is_old = now - self._fetched > self._rules.keep_s
        if (is_old or kid not in self._keys) and now - self._tried > REFETCH_S:
            async with self._lock:
                if now - self._tried > REFETCH_S:
                    self._tried = now
                    await self._fetch(now)
        if not self._keys:
            raise KeysUnavailable("the keys of the token's issuer cannot be read at the moment")
        if kid in self._keys:
            return self._keys[kid]
        if not kid and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        raise Unauthenticated("the token is signed with a key that is not known here")

    async def _fetch(self, now: float) -> None:
        import jwt

        try:
            document = await asyncio.to_thread(read_jwks, self._rules.jwks)
            keys = jwt.PyJWKSet.from_dict(document).keys
        except (OSError, ValueError, jwt.PyJWTError) as error:
            # Old keys are better than none while the issuer cannot be reached.
            log.error("the keys of the tokens' issuer cannot be read: %s", error)
            return
        self._keys = {key.key_id or "": key for key in keys}
        self._fetched = now


def read_jwks(where: str) -> dict[str, Any]:  # Any: JSON
    """The key set of a file, or of an http(s) address. Raises OSError or ValueError."""
    if where.startswith(("https://", "http://")):
        try:
            with urllib.request.urlopen(where, timeout=FETCH_TIMEOUT_S) as reply:  # noqa: S310  (scheme checked above)
                text = reply.read(_MAX_JWKS_BYTES)
        except urllib.error.HTTPError as refused:
            refused.close()  # it holds the connection
            raise
    else:
        text = Path(where.removeprefix("file://")).read_bytes()
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("a key set is a JSON object")
    return document

"""Signed tokens (JWT, RFC 7519), verified by issuer, audience and the public keys of the issuer.

The keys (JWKS, RFC 7517) come from a file or an https address, and are cached. A token with an unknown key id causes a
new fetch, at most every REFETCH_S, so that clients cannot make the service fetch at will.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.watch import Watch
from serving.access.roles import Identity, identity_of
from serving.errors.exceptions import KeysUnavailable, Unauthenticated

log = logging.getLogger("makunouchi.tokens")

REFETCH_S = 10.0
FETCH_TIMEOUT_S = 5.0
LEEWAY_S = 30.0
_MAX_JWKS_BYTES = 1 << 20
_MAX_SUBJECT_CHARACTERS = 128
# Asymmetric algorithms only: with a shared secret every verifier could issue tokens. By the type of a key, `kty`, or by
# its curve.
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_BY_CURVE = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",), "Ed25519": ("EdDSA",), "Ed448": ("EdDSA",)}
ALGORITHMS = (*_RSA, "ES256", "ES384", "ES512", "EdDSA")


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The requirements on a token.

    `roles_claim` is the claim with the roles, and with `batch` for callers of that priority: a list, or words separated
    by spaces. Where a token has no claim of that
    name, dots in it separate the names of nested claims, such as `realm_access.roles`.
    """

    issuer: str
    audience: str
    jwks: str
    roles_claim: str = "roles"
    keep_s: float = 300.0


class TokenVerifier:
    """A verifier of tokens by `rules`."""

    def __init__(self, rules: TokenRules, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._keys: dict[str, Any] = {}  # Any: PyJWT's keys
        self._fetched_s = self._attempted_s = float("-inf")
        self._lock = asyncio.Lock()
        self._watch = Watch(
            "jwt_jwks", "read the public keys of the token issuer", keeps="the previous keys remain valid", log=log
        )

    async def identify(self, token: str) -> Identity:
        """Return the identity of a token. Raises Unauthenticated, or KeysUnavailable without keys to verify it."""
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise Unauthenticated("the signature algorithm of the token is not accepted")
            key = await self._key(str(header.get("kid", "")))
            claims = jwt.decode(
                token,
                key.key,
                algorithms=algorithms_of(key),
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("the token has expired") from error
        except jwt.InvalidTokenError as error:
            raise Unauthenticated("the token is not valid") from error
        claim = _claim(claims, self._rules.roles_claim)
        words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else ()
        return identity_of(_name_of(claims["sub"]), (str(word) for word in words))

    async def _key(self, kid: str) -> Any:  # Any: PyJWT's PyJWK
        now = self._clock()
        is_old = now - self._fetched_s > self._rules.keep_s
        if (is_old or kid not in self._keys) and now - self._attempted_s > REFETCH_S:
            async with self._lock:
                if now - self._attempted_s > REFETCH_S:
                    self._attempted_s = now
                    await self._fetch(now)
        if not self._keys:
            raise KeysUnavailable("the public keys of the token issuer cannot be fetched")
        if kid in self._keys:
            return self._keys[kid]
        if not kid and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        raise Unauthenticated("the token is signed with an unknown key")

    async def _fetch(self, now: float) -> None:
        import jwt

        with self._watch.attempt():
            document = await asyncio.to_thread(read_jwks, self._rules.jwks)
            try:
                keys = jwt.PyJWKSet.from_dict(document).keys
            except jwt.PyJWTError as error:
                raise ValueError("the key set has no usable key") from error
            self._keys = {str(key.key_id or ""): key for key in keys}
            self._fetched_s = now


def algorithms_of(key: Any) -> list[str]:  # Any: PyJWT's PyJWK
    """Return the algorithms that a public key may verify: its own, or those of its type (RFC 7517, 4.4)."""
    description = key._jwk_data
    own = description.get("alg")
    if own is not None:
        return [own] if own in ALGORITHMS else []
    return list(_RSA if description.get("kty") == "RSA" else _BY_CURVE.get(description.get("crv"), ()))


def _claim(claims: dict[str, Any], name: str) -> Any:  # Any: JSON
    """Return a claim by its name, or by the names of nested claims with dots between them; None for none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _name_of(subject: str) -> str:
    """Return the name of the caller with this subject, which no other subject has.

    A subject that is long or not printable is replaced by its digest. Plain names have another prefix.
    """
    if len(subject) <= _MAX_SUBJECT_CHARACTERS and subject.isprintable():
        return f"jwt:{subject}"
    return f"jwt-sha256:{hashlib.sha256(subject.encode('utf-8', 'surrogatepass')).hexdigest()}"


def read_jwks(source: str) -> dict[str, Any]:  # Any: JSON
    """Return the key set of a file or an http(s) address. Raises OSError or ValueError."""
    if source.startswith(("https://", "http://")):
        try:
            with urllib.request.urlopen(source, timeout=FETCH_TIMEOUT_S) as response:  # noqa: S310  (scheme checked above)
                text = response.read(_MAX_JWKS_BYTES)
        except urllib.error.HTTPError as error:
            error.close()  # it keeps the connection open
            raise
    else:
        text = Path(source.removeprefix("file://")).read_bytes()
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("the key set is not a JSON object")
    return document

"""Keys of each role, as settings and as headers; signed tokens, and the keys that they are checked with."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from serving.access.api_keys import hash_of
from serving.access.roles import ROLES, Role

KEYS = {role: f"mk_the-{role}-key-of-the-tests" for role in ROLES}
API_KEYS = ",".join(f"{role}er:{role}:{hash_of(key)}" for role, key in KEYS.items())

ISSUER, AUDIENCE = "https://issuer.example", "makunouchi"


def headers(role: Role) -> dict[str, str]:
    """The header of the key with one role."""
    return {"X-API-Key": KEYS[role]}


class Signer:
    """Signs tokens with a key of its own."""

    def __init__(self, kid: str = "k1") -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self.kid = kid
        self.private = ec.generate_private_key(ec.SECP256R1())

    def jwk(self) -> dict[str, Any]:
        """The public key, as a key set holds it."""
        from jwt.algorithms import ECAlgorithm

        return {**ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid, "alg": "ES256"}

    def token(self, **changed: Any) -> str:
        """A token that is good, but for what is `changed`; a claim that is None is left out."""
        import jwt

        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 600, "roles": ["predict"]}
        kept = {name: value for name, value in (claims | changed).items() if value is not None}
        return jwt.encode(kept, self.private, algorithm="ES256", headers={"kid": self.kid})


def key_set(*signers: Signer) -> dict[str, Any]:
    """The public keys of `signers`."""
    return {"keys": [signer.jwk() for signer in signers]}


def write_key_set(path: Path, *signers: Signer) -> str:
    """`key_set` as a file. Gives its path."""
    path.write_text(json.dumps(key_set(*signers)))
    return str(path)

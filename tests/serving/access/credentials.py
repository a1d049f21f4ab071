"""API keys of each role, as settings and as headers, and signed tokens with their public keys."""

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
    """Return the header with the key of one role."""
    return {"X-API-Key": KEYS[role]}


class Signer:
    """An issuer of tokens, with its private key."""

    def __init__(self, kid: str = "k1") -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self.kid = kid
        self.private = ec.generate_private_key(ec.SECP256R1())

    def jwk(self) -> dict[str, Any]:
        """The public key as an entry of a key set."""
        from jwt.algorithms import ECAlgorithm

        return {**ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid, "alg": "ES256"}

    def token(self, **changed: Any) -> str:
        """Return a token that is valid except for the claims in `changed`; None removes a claim."""
        import jwt

        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 600, "roles": ["predict"]}
        payload = {name: value for name, value in (claims | changed).items() if value is not None}
        return jwt.encode(payload, self.private, algorithm="ES256", headers={"kid": self.kid})


def key_set(*signers: Signer) -> dict[str, Any]:
    """Return the key set of `signers`."""
    return {"keys": [signer.jwk() for signer in signers]}


def write_key_set(path: Path, *signers: Signer) -> str:
    """Write the key set to a file and return its path."""
    path.write_text(json.dumps(key_set(*signers)))
    return str(path)

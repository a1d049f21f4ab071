"""Forged, expired and confusing tokens and keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt

from tests.attack.scenario import Attack, scenario
from tests.attack.target import GUESSES, KEY_LINES, Target
from tests.fuzz.seeds import tokens as seeds
from tests.serving.access.credentials import AUDIENCE, ISSUER, Signer

PATH = "/v1/models"


def forged(target: Target) -> Iterator[tuple[str, str]]:
    """Yield invalid tokens with a name."""
    signer, now = target.signer, time.time()
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now + 600, "roles": ["admin"]}
    for changed in (
        {"exp": now - 3600}, {"nbf": now + 3600}, {"iss": "https://other.example"}, {"aud": "other"}, {"sub": None},
        {"exp": None}, {"exp": "never"}, {"aud": None}, {"iss": None},
    ):  # fmt: skip
        yield f"claims {changed}", signer.token(**changed)
    yield "another issuer's key", Signer().token()
    valid = signer.token(roles=["read"])
    header, payload, signature = valid.split(".")
    yield "no algorithm", f"{_part({'alg': 'none', 'kid': 'k1'})}.{payload}."
    yield "no signature", f"{header}.{payload}."
    yield "other claims", f"{header}.{_part(claims)}.{signature}"
    yield "zero signature", f"{header}.{payload}.{base64.urlsafe_b64encode(bytes(64)).decode().rstrip('=')}"
    for public in _public_texts(signer):
        for algorithm, digest in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512)):
            head = _part({"alg": algorithm, "kid": "k1", "typ": "JWT"})
            text = f"{head}.{_part(claims)}"
            mac = hmac.new(public, text.encode(), digest).digest()
            yield (
                f"public key as the secret of {algorithm}",
                f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}",
            )
    for kid in ("", "../../../dev/null", "k1\x00", "' OR 1=1 --"):
        yield f"key id {kid!r}", jwt.encode(claims, Signer().private, algorithm="ES256", headers={"kid": kid})
    for name, seed in seeds().items():
        yield name, seed.decode("latin-1")


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _public_texts(signer: Signer) -> list[bytes]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = signer.private.public_key()
    return [key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), json.dumps(signer.jwk()).encode()]


def _with_token(
    target: Target,
    token: str,
    method: str = "GET",
    path: str = PATH,
    **options: Any,  # Any: options of httpx
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
    return target.send(method, path, caller=None, headers=headers, **options)


@scenario("tokens", short=True)
def tokens(attack: Attack) -> None:
    """Send every forged token. None may be accepted, and none may be answered with a server error."""
    for number, (name, token) in enumerate(forged(attack.target)):
        # Each from another address: guesses of one address are limited, which would hide an accepted token.
        status = _with_token(attack.target, token, address=f"127.0.1.{number + 1}").status_code
        attack.count(status)
        attack.require(status == 401, f"token with {name}: {status}, expected 401")
    valid = _with_token(attack.target, attack.target.signer.token(roles=["read"])).status_code
    attack.require(valid == 200, f"the valid token got {valid}")


@scenario("subjects", short=True, faults=(8,))
def subjects(attack: Attack) -> None:
    """Create a job as one subject, and read it as another one with the same first 100 characters."""
    first, second = (attack.target.signer.token(sub="s" * 100 + end) for end in ("a", "b"))
    headers = {"Content-Type": "text/csv"}
    sent = _with_token(attack.target, first, "POST", "/v1/tabular/jobs", content=attack.bystander.csv, headers=headers)
    attack.count(sent.status_code)
    if sent.status_code != 202:
        return
    path = sent.headers["Location"]
    attack.require(_with_token(attack.target, first, path=path).status_code == 200, "the owner cannot read its job")
    other = _with_token(attack.target, second, path=path).status_code
    attack.count(other)
    attack.fact(f"job of another subject with the same first 100 characters: {other}")
    attack.require(other == 404, f"another subject's job: {other}, expected 404")


@scenario("guesses", short=True, faults=(19,))
def guesses(attack: Attack) -> None:
    """Guess admin keys, each guess with another X-Forwarded-For. The limit must count the peer's address."""
    path, number = "/v1/models/tabular/reload", 3 * GUESSES
    for guess in range(number):
        headers = {"X-API-Key": f"mk_guess-{guess}", "X-Forwarded-For": f"198.51.100.{guess}"}
        response = attack.target.send("POST", path, caller=None, json={"version": "1"}, headers=headers)
        attack.count(response.status_code)
    attack.fact(f"guesses from loopback with a changing X-Forwarded-For: {attack.seen['429']} of {number} refused")
    attack.require(attack.seen["429"] >= number - GUESSES - 5, f"only {attack.seen['429']} of {number} guesses got 429")


@scenario("keys-file", short=True, faults=(12,))
def keys_file(attack: Attack) -> None:
    """Put a byte that is not UTF-8 into the file of keys. Callers must not notice, and later changes must apply."""
    file, target = attack.target.keys_file, attack.target
    try:
        file.write_bytes(KEY_LINES.encode() + b"\xff\n")
        until = time.monotonic() + (2.2 if attack.is_short else 3.5)
        while time.monotonic() < until:
            status = target.send("GET", PATH, caller="reader").status_code
            attack.count(status)
            time.sleep(0.05)
        attack.require(set(attack.seen) == {"200"}, f"a valid key got {dict(attack.seen)} while the file is damaged")
        file.write_text("".join(line + "\n" for line in KEY_LINES.splitlines() if not line.startswith("reader:")))
        time.sleep(1.5)
        revoked = target.send("GET", PATH, caller="reader").status_code
        attack.fact(f"key file with a byte that is not UTF-8: {dict(attack.seen)}; a key revoked afterwards: {revoked}")
        attack.require(revoked == 401, f"a revoked key got {revoked} after the file was repaired")
    finally:
        file.write_text(KEY_LINES)
        time.sleep(1.5)

"""Signed tokens: valid and invalid ones, and the source of the public keys."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from models.watch import failing
from serving.access.tokens import TokenRules, TokenVerifier, read_jwks
from serving.errors.exceptions import KeysUnavailable, Unauthenticated
from tests.serving.access.credentials import AUDIENCE, ISSUER, Signer, key_set, write_key_set
from tests.serving.event_loop import in_loop


def tokens(where: str, clock: Any = time.monotonic, **rules: Any) -> TokenVerifier:
    return TokenVerifier(TokenRules(ISSUER, AUDIENCE, where, **rules), clock=clock)


def test_a_token_identifies_the_caller_and_its_roles(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        signer = Signer()
        checked = tokens(write_key_set(tmp_path / "jwks.json", signer))

        identity = await checked.identify(signer.token(roles=["predict", "boss"]))

        assert (identity.name, set(identity.roles)) == ("jwt:ann", {"predict"})
        assert set((await checked.identify(signer.token(roles="read admin"))).roles) == {"read", "admin"}
        assert not (await checked.identify(signer.token(roles=None))).roles
        assert not identity.is_batch
        assert (await checked.identify(signer.token(roles="predict batch"))).is_batch

    run()


def test_different_subjects_are_different_callers_whatever_their_length(tmp_path: Path) -> None:
    common = "repo:an-organisation/a-repository-with-a-rather-long-name:ref:refs/heads/feature/team/" + "x" * 100
    subjects = ["ann", "x" * 128, common + "alice", common + "bob", "a\nb", "a\0b", "\ud800", "müller", "", " "]
    digests = [f"sha256:{hashlib.sha256((common + 'bob').encode()).hexdigest()}"]

    @in_loop
    async def run() -> None:
        signer = Signer()
        checked = tokens(write_key_set(tmp_path / "jwks.json", signer))
        names = [(await checked.identify(signer.token(sub=subject))).name for subject in subjects + digests]

        assert names[:2] == ["jwt:ann", "jwt:" + "x" * 128]
        assert names[7] == "jwt:müller"
        assert len(set(names)) == len(names)
        assert max(map(len, names)) <= 132
        assert all(name.isprintable() for name in names)

    run()


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_a_public_key_without_an_algorithm_verifies_those_of_its_type(algorithm: str, tmp_path: Path) -> None:
    private = rsa.generate_private_key(65537, 2048)
    entry = {**RSAAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": "k"}
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [entry]}))
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 600}
    token = jwt.encode(claims, private, algorithm=algorithm, headers={"kid": "k"})

    @in_loop
    async def run() -> None:
        assert (await tokens(str(tmp_path / "jwks.json")).identify(token)).name == "jwt:ann"

    run()


def test_a_public_key_with_an_algorithm_verifies_no_other(tmp_path: Path) -> None:
    private = rsa.generate_private_key(65537, 2048)
    entry = {**RSAAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": "k", "alg": "RS256"}
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [entry]}))
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 600}
    token = jwt.encode(claims, private, algorithm="RS512", headers={"kid": "k"})

    @in_loop
    async def run() -> None:
        with pytest.raises(Unauthenticated):
            await tokens(str(tmp_path / "jwks.json")).identify(token)

    run()


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["predict"]}}),
        ("https://shop.example/roles", {"https://shop.example/roles": ["predict"]}),
        ("a.b", {"a.b": "predict", "a": {"b": "admin"}}),
        ("a.b", {"a": ["predict"]}),
        ("a.b", {"a": "predict"}),
    ],
)
def test_roles_are_read_from_nested_and_namespaced_claims(name: str, claims: dict[str, Any], tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        signer = Signer()
        checked = tokens(write_key_set(tmp_path / "jwks.json", signer), roles_claim=name)
        identity = await checked.identify(signer.token(roles=None, **claims))
        assert set(identity.roles) == (set() if name not in claims and "realm" not in name else {"predict"})

    run()


@pytest.mark.parametrize("damage", ["{", '{"keys": 7}', '{"keys": [7]}', "[]", "\xff", '{"keys": []}'])
def test_keys_that_cannot_be_read_leave_the_previous_ones(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    async def run() -> None:
        now = 0.0
        signer = Signer()
        file = tmp_path / "jwks.json"
        checked = tokens(write_key_set(file, signer), clock=lambda: now)
        assert (await checked.identify(signer.token())).name == "jwt:ann"

        file.write_bytes(damage.encode("latin-1"))
        for _ in range(3):
            now += 400
            assert (await checked.identify(signer.token())).name == "jwt:ann"
        assert caplog.text.count("cannot read the public keys of the token issuer, the previous keys remain") == 1
        assert set(failing()) == {"jwt_jwks"}

        write_key_set(file, signer)
        now += 400
        await checked.identify(signer.token())
        assert failing() == {}

    run()


def unsigned(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, "", algorithm="none")


def confused(signer: Signer) -> str:
    """Return a token signed with the public key as a shared secret."""
    secret = json.dumps(signer.jwk())

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    head = part({"alg": "HS256", "kid": signer.kid}) + "." + part({"sub": "x", "iss": ISSUER, "aud": AUDIENCE})
    digest = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head.encode(), secret.encode())
    return head + "." + base64.urlsafe_b64encode(digest).decode().rstrip("=")


BAD: dict[str, Callable[[Signer], str]] = {
    "expired": lambda signer: signer.token(exp=time.time() - 3600),
    "without an end": lambda signer: signer.token(exp=None),
    "not yet": lambda signer: signer.token(nbf=time.time() + 3600),
    "of another issuer": lambda signer: signer.token(iss="https://evil.example"),
    "for another audience": lambda signer: signer.token(aud="other"),
    "without a subject": lambda signer: signer.token(sub=None),
    "signed by a stranger": lambda signer: Signer(signer.kid).token(),
    "with a key unknown": lambda signer: Signer("k9").token(),
    "unsigned": lambda signer: unsigned({"sub": "x", "iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60}),
    "signed with the public key": confused,
    "cut": lambda signer: signer.token()[:-8],
    "nonsense": lambda signer: "a.b.c",
}


@pytest.mark.parametrize("what", BAD)
def test_an_invalid_token_is_refused(what: str, tmp_path: Path) -> None:
    @in_loop
    async def refused() -> None:
        signer = Signer()
        checked = tokens(write_key_set(tmp_path / "jwks.json", signer))
        with pytest.raises(Unauthenticated):
            await checked.identify(BAD[what](signer))

    refused()


class Issuer:
    """A server of public keys that counts its requests."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.requests = 0
        self.is_down = False
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests += 1
                self.send_response(500 if issuer.is_down else 200)
                self.end_headers()
                self.wfile.write(json.dumps(issuer.keys).encode())

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    served = Issuer()
    yield served
    served.server.shutdown()
    served.server.server_close()


def test_public_keys_are_cached_and_fetched_again_for_an_unknown_key(issuer: Issuer) -> None:
    @in_loop
    async def run() -> None:
        now = 0.0
        first, second = Signer("k1"), Signer("k2")
        issuer.keys = key_set(first)
        checked = tokens(issuer.url, clock=lambda: now, keep_s=300)

        for _ in range(5):
            await checked.identify(first.token())
        assert issuer.requests == 1

        issuer.keys = key_set(first, second)
        with pytest.raises(Unauthenticated):
            await checked.identify(second.token())
        assert issuer.requests == 1, "REFETCH_S has not passed"

        now += 11
        assert (await checked.identify(second.token())).name == "jwt:ann"
        assert issuer.requests == 2

        issuer.is_down = True
        now += 1000
        assert (await checked.identify(first.token())).name == "jwt:ann", "old keys do while the issuer is down"
        assert issuer.requests == 3

    run()


def test_a_refusal_of_the_issuer_leaves_no_connection_open(issuer: Issuer) -> None:
    issuer.is_down = True
    with pytest.raises(urllib.error.HTTPError) as refused:
        read_jwks(issuer.url)
    assert refused.value.closed


def test_without_public_keys_tokens_raise_keys_unavailable(issuer: Issuer) -> None:
    @in_loop
    async def run() -> None:
        issuer.is_down = True
        with pytest.raises(KeysUnavailable):
            await tokens(issuer.url).identify(Signer().token())

    run()

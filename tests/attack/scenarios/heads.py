"""Request lines and headers that break RFC 9112."""

from __future__ import annotations

import time

from tests.attack.connections import exchange, head, outcome
from tests.attack.scenario import Attack, scenario
from tests.attack.target import BODY_TIMEOUT_S


def _request(line: str, *headers: str, body: str = "") -> bytes:
    return "\r\n".join([line, *headers, "", body]).encode("latin-1")


def _post(*headers: str, body: str = "") -> bytes:
    return _request("POST /v1/feedback HTTP/1.1", HOST, *headers, body=body)


HOST, CLOSE, CHUNKED = "Host: a", "Connection: close", "Transfer-Encoding: chunked"
GET = "GET /livez HTTP/1.1"
SECOND = _request(GET, HOST).decode()
# A request that needs a key may get 401 before its body is read.
BAD, BAD_BODY = ("400",), ("400", "401")
# The bytes of a request, and the statuses that it may get.
HEADS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "plain": (_request(GET, HOST, CLOSE), ("200",)),
    "no-host": (_request(GET, CLOSE), BAD),
    "two-hosts": (_request(GET, HOST, "Host: b", CLOSE), BAD),
    "version-0.9": (_request("GET /livez"), BAD),
    "version-2.0": (_request("GET /livez HTTP/2.0", HOST), ("400", "505")),
    "http2-preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ("400", "505")),
    "long-line": (_request(f"GET /{'a' * 200_000} HTTP/1.1", HOST), ("400", "414", "431")),
    "long-header": (_request(GET, HOST, f"X: {'a' * 200_000}"), ("400", "431")),
    "many-headers": (_request(GET, HOST, *["X: y"] * 20_000), ("400", "431")),
    "null-byte": (_request("GET /livez\0 HTTP/1.1", HOST), BAD),
    "null-in-header": (_request(GET, HOST, "X: a\0b"), BAD),
    "space-before-colon": (_request(GET, "Host : a"), BAD),
    "folded-header": (_request(GET, HOST, "X: a\r\n b", CLOSE), ("200", "400")),
    "bare-newlines": (_request(GET, HOST, CLOSE).replace(b"\r", b""), ("200", "400")),
    "two-lengths": (_post("Content-Length: 1", "Content-Length: 2", body="ab"), BAD),
    "length-and-chunks": (_post("Content-Length: 4", CHUNKED, body="0\r\n\r\n" + SECOND), BAD_BODY),
    "negative-length": (_post("Content-Length: -1"), BAD),
    "huge-length": (_post(f"Content-Length: {'9' * 40}"), ("400", "401", "413")),
    "signed-chunk": (_post(CHUNKED, body="-1\r\na\r\n0\r\n\r\n"), BAD_BODY),
    "unknown-coding": (_post("Transfer-Encoding: xchunked", body="0\r\n\r\n"), ("400", "401", "501")),
    "unknown-method": (_request("BREW /livez HTTP/1.1", HOST, CLOSE), ("400", "405", "501")),
    "absolute-form": (_request("GET http://a/livez HTTP/1.1", HOST, CLOSE), ("200", "400", "404")),
    "connect": (_request("CONNECT a:443 HTTP/1.1", "Host: a:443", CLOSE), ("400", "404", "405")),
    "asterisk": (_request("OPTIONS * HTTP/1.1", HOST, CLOSE), ("200", "204", "400", "404", "405")),
    "percent-slash": (_request("GET /v1/jobs/..%2f..%2fetc HTTP/1.1", HOST, CLOSE), ("400", "401", "404")),
    "tls-hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), BAD),
    "half-head": (b"GET /livez HTTP/1.1\r\nHost: a\r\n", ("408",)),
    "half-body": (_post("Content-Length: 100", body="{"), ("401", "408")),
}


@scenario("heads", short=True, faults=(17,))
def heads(attack: Attack) -> None:
    """Send each head over its own connection. The status must be a documented one, and come in time."""
    for name, (request, allowed) in HEADS.items():
        if attack.is_short and name in ("half-head", "half-body"):
            continue
        started_s = time.monotonic()
        seen = outcome(exchange(attack.target.port, request, timeout_s=BODY_TIMEOUT_S + 5))
        attack.count(seen)
        attack.require(seen.partition(" ")[0] in allowed, f"{name}: {seen}, expected {' or '.join(allowed)}")
        took_s = time.monotonic() - started_s
        attack.within(took_s, BODY_TIMEOUT_S + 4, f"{name}: the connection")


@scenario("half-closed", short=True, faults=(17,))
def half_closed(attack: Attack) -> None:
    """Close the sending side after a whole request, which RFC 9112 allows. Each client must get its response."""
    number = 20 if attack.is_short else 100
    body = '{"user_id":"1","n":1}'
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    request = head("POST", "/v1/recommendations", headers, caller="attacker") + body.encode()
    for _ in range(number):
        attack.count(outcome(exchange(attack.target.port, request, closes=True)))
    answered = attack.seen["200"]
    attack.fact(f"half-closed clients: {answered} of {number} got a response")
    attack.require(answered == number, f"{number - answered} of {number} half-closed clients got no response")

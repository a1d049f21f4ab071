"""The client address of a request behind trusted and untrusted proxies."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from serving.access.client_address import client_address, forwarded_url
from serving.context import DIRECT, PublicUrl

NETWORKS = [ipaddress.ip_network(each) for each in ("10.0.0.0/8", "fd00::/8")]


def scope_of(peer: str, scheme: str = "http", **headers: str) -> dict[str, Any]:  # Any: ASGI
    sent = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "inner:3000", **headers}.items()
    ]
    return {"type": "http", "client": (peer, 1), "scheme": scheme, "headers": sent}


@pytest.mark.parametrize(
    ("headers", "url", "prefix"),
    [
        ({}, "http://inner:3000", ""),
        ({"x_forwarded_host": "shop.example", "x_forwarded_proto": "https"}, "https://shop.example", ""),
        ({"x_forwarded_proto": "https"}, "https://inner:3000", ""),
        ({"x_forwarded_prefix": "/ml/"}, "http://inner:3000", "/ml"),
        ({"x_forwarded_host": "evil.example, shop.example"}, "http://shop.example", ""),
        ({"x_forwarded_host": "evil, shop.example:8443, inner", "x_forwarded_for": "1.2.3.4, 198.51.100.7, 10.0.0.9"},
         "http://shop.example:8443", ""),
        ({"x_forwarded_host": "shop.example", "x_forwarded_for": "198.51.100.7, 10.0.0.9"}, "http://shop.example", ""),
        ({"forwarded": "for=198.51.100.7;proto=https;host=shop.example"}, "https://shop.example", ""),
        ({"forwarded": 'for=1.2.3.4;host=evil, For="[2001:db8::1]:4711";PROTO=HTTPS;Host="shop.example:8443"'},
         "https://shop.example:8443", ""),
        ({"forwarded": "host=evil;proto=https", "x_forwarded_for": "198.51.100.7"}, "http://inner:3000", ""),
        ({"x_forwarded_host": "evil.example/'><script>"}, "", ""),
        ({"x_forwarded_proto": "javascript"}, "", ""),
        ({"x_forwarded_prefix": "/a b"}, "", ""),
        ({"x_forwarded_prefix": "//evil.example"}, "", ""),
        ({"forwarded": 'for="'}, "http://inner:3000", ""),
    ],
)  # fmt: skip
def test_the_public_url_is_that_of_the_first_trusted_proxy(headers: dict[str, str], url: str, prefix: str) -> None:
    assert forwarded_url(scope_of("10.0.0.1", **headers), NETWORKS) == PublicUrl(url, prefix)
    assert forwarded_url(scope_of("203.0.113.9", **headers), NETWORKS) == DIRECT
    assert forwarded_url(scope_of("10.0.0.1", **headers), []) == DIRECT


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [("for=198.51.100.7", "198.51.100.7"), ("proto=https", "10.0.0.1"),
     ('for=6.6.6.6, for="198.51.100.7:4711";proto=https, for=10.2.3.4', "198.51.100.7"),
     ('For="[2001:db8::1]:4711"', "2001:db8::/64"),
     ("for=unknown", "10.0.0.1"), ("for=_hidden, for=10.0.0.9", "10.0.0.9")],
)  # fmt: skip
def test_the_header_forwarded_names_the_client(forwarded: str, expected: str) -> None:
    assert client_address(scope_of("10.0.0.1", forwarded=forwarded), NETWORKS) == expected
    assert client_address(scope_of("203.0.113.9", forwarded=forwarded), NETWORKS) == "203.0.113.9"
    # A proxy of the older form passes the client's own `Forwarded` on.
    both = scope_of("10.0.0.1", forwarded=forwarded, x_forwarded_for="198.51.100.99")
    assert client_address(both, NETWORKS) == "198.51.100.99"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "1.2.3.4", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.7, 10.2.3.4", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::/64"),
        ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "6.6.6.6, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("2001:db8:0:1:2:3:4:5", None, "2001:db8:0:1::/64"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("a socket", None, "unknown"),
    ],
)
def test_the_last_address_that_is_not_a_trusted_proxy_counts(peer: str, forwarded: str | None, expected: str) -> None:
    sent = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    assert client_address({"type": "http", "client": (peer, 1), "headers": sent}, NETWORKS) == expected

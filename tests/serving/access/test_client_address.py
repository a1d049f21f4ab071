"""The client address of a request behind trusted and untrusted proxies."""

from __future__ import annotations

import ipaddress

import pytest

from serving.access.client_address import client_address

NETWORKS = [ipaddress.ip_network(each) for each in ("10.0.0.0/8", "fd00::/8")]


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

"""A runner's address is read as BentoML writes it."""

from __future__ import annotations

import pytest

from serving.runners.client.connection import Address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("file:///run/a%20b/1.sock", Address(path="/run/a b/1.sock")),
        ("tcp://127.0.0.1:9", Address(host="127.0.0.1", port=9)),
        ("http://runner", Address(host="runner", port=80)),
        ("https://runner/x/", Address(host="runner", port=443, prefix="/x", is_tls=True)),
    ],
)
def test_addresses_are_those_that_bentoml_gives(url: str, address: Address) -> None:
    assert Address.parse(url) == address


@pytest.mark.parametrize("url", ["ftp://x", "runner:80", "http://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Address.parse(url)

"""Tests of base64 in pieces: it is the same as in one piece."""

from __future__ import annotations

import asyncio
import base64

import pytest

from serving.http.requests.base64_text import decode_base64


@pytest.mark.parametrize("size", [0, 1, 786_431, 786_432, 786_433, 2_000_000])
def test_files_of_any_size_are_decoded(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    assert asyncio.run(decode_base64(base64.b64encode(content).decode())) == content


@pytest.mark.parametrize(
    "text",
    [
        "é" * 8,
        "A" * 5,
        "A" * (1 << 20) + "A",
        "A" * ((1 << 20) - 1) + "=" + "AAAA",
        "A" * (2 << 20) + "A\nAA",
    ],
    ids=["no ASCII", "length", "length of pieces", "padding inside", "line"],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # binascii's own messages
        asyncio.run(decode_base64(text))

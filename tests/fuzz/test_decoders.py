"""Fuzz tests of decoders of bytes: each input is read, or refused with the documented error."""

from __future__ import annotations

import asyncio
import atexit
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.errors import ArtifactInvalid, InputError, SettingsInvalid
from models.image.preprocessing import ImageDecoder, Preprocessing
from models.recommender.dataset.feature_files import USERS, read_feature_tables
from serving.access.api_keys import KeyRing, read_keys
from serving.access.tokens import TokenRules, TokenVerifier
from serving.errors.exceptions import Malformed, Unauthenticated
from serving.http.requests.multipart import parse
from serving.open_inference.codec import read as read_tensors
from serving.routes import websocket
from serving.runners.wire import FrameInvalid, decode_requests, decode_responses
from tests.fuzz.corpus import fuzzing, mutated, refuses_or_reads, seeds
from tests.fuzz.seeds import BOUNDARY
from tests.serving.access.credentials import AUDIENCE, ISSUER, Signer, write_key_set

DECODER = ImageDecoder(Preprocessing(resize=8, crop=8), max_pixels=1_000_000)
_SIGNER = Signer()
_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-")
atexit.register(_FOLDER.cleanup)
_TOKENS = TokenVerifier(TokenRules(ISSUER, AUDIENCE, write_key_set(Path(_FOLDER.name, "jwks.json"), _SIGNER)))


def read_image(data: bytes) -> bool:
    def decode() -> None:
        pixels = DECODER.decode(data)
        assert pixels.shape == (8, 8, 3)
        assert pixels.dtype == np.uint8

    return refuses_or_reads(decode, InputError)


def read_form(data: bytes) -> bool:
    return refuses_or_reads(lambda: parse(data, BOUNDARY.encode(), max_parts=40), Malformed)


def read_infer(data: bytes) -> bool:
    length, _, body = data.partition(b"\n")
    given_length = length.decode("latin-1") if length else None
    return refuses_or_reads(lambda: asyncio.run(read_tensors(body, given_length)), InputError, ValidationError)


def read_frame(data: bytes) -> bool:
    is_request = refuses_or_reads(lambda: decode_requests(data, now=0.0), FrameInvalid)
    return refuses_or_reads(lambda: decode_responses(data), FrameInvalid) or is_request


def read_key_file(data: bytes) -> bool:
    return refuses_or_reads(lambda: read_keys(data.decode("utf-8", "replace")), SettingsInvalid)


def read_token(data: bytes) -> bool:
    return refuses_or_reads(lambda: asyncio.run(_TOKENS.identify(data.decode("latin-1"))), Unauthenticated)


def read_table(data: bytes) -> bool:
    folder = Path(_FOLDER.name)
    (folder / USERS).write_bytes(data)
    return refuses_or_reads(lambda: read_feature_tables(folder), ArtifactInvalid)


def read_message(data: bytes) -> bool:
    def decode() -> None:
        websocket.Message.model_validate(websocket.parsed(data.decode("utf-8", "replace")))

    return refuses_or_reads(decode, Malformed, ValidationError)


READERS: dict[str, Callable[[bytes], bool]] = {
    "images": read_image,
    "multipart": read_form,
    "tensors": read_infer,
    "frames": read_frame,
    "keys": read_key_file,
    "tokens": read_token,
    "parquet": read_table,
    "messages": read_message,
}
# The valid seeds; all others are refused.
VALID = {
    "images": {
        *(f"plain.{kind}" for kind in ("jpeg", "png", "webp", "gif", "bmp")),
        *("mode-cmyk.jpeg", "mode-i16.png", "mode-palette.png", "mode-la.png", "animated.gif"),
    },
    "multipart": {
        # Not "boundary-inside": a line that begins with the delimiter is a boundary line, whatever follows (RFC 2046,
        # 5.1.1), so a client has to choose another boundary for such a file.
        "image", "several", "names-twice", "star-names", "quoted", "null-bytes", "nested", "only-end", "preamble",
    },
    "tensors": {"json", "numbers", "texts", "bits", "both", "nested-data", "wanted"},
    "frames": {"questions", "queries", "answers"},
    "keys": {"one", "rotated", "commas", "first-year", "last-year", "empty"},
    "tokens": set(),
    "parquet": {"users.parquet", "null-id.parquet", "struct-column.parquet", "empty.parquet"},
    "messages": {"row", "user", "ping"},
}  # fmt: skip


@pytest.mark.parametrize(("decoder", "name"), [(decoder, name) for decoder in READERS for name in seeds(decoder)])
def test_valid_seeds_are_read_and_others_refused(decoder: str, name: str) -> None:
    assert READERS[decoder](seeds(decoder)[name]) == (name in VALID[decoder])


@pytest.mark.slow
@pytest.mark.parametrize("decoder", READERS)
def test_mutated_seeds_are_read_or_refused(decoder: str) -> None:
    @fuzzing
    @given(mutated(decoder))
    def run(data: bytes) -> None:
        READERS[decoder](data)

    run()


@pytest.mark.slow
@pytest.mark.parametrize("decoder", READERS)
def test_any_bytes_are_read_or_refused(decoder: str) -> None:
    @fuzzing
    @given(st.binary(max_size=300))
    def run(data: bytes) -> None:
        READERS[decoder](data)

    run()


@fuzzing
@given(st.text())
def test_arbitrary_text_is_not_a_key(text: str) -> None:
    assert KeyRing(f"shop:predict:{'0' * 64}").find(text) is None


@fuzzing
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_changed_token_is_refused(place: int, change: bytes) -> None:
    token = _SIGNER.token().encode()
    place %= len(token)
    changed = token[:place] + change + token[place + len(change) :]
    if _same_bits(changed, token):
        return
    assert not read_token(changed)


def _same_bits(changed: bytes, token: bytes) -> bool:
    """Return whether both decode to the same token. The last base64 character of a part has unused bits."""
    import base64

    def parts(text: bytes) -> list[bytes] | None:
        try:
            return [base64.urlsafe_b64decode(part + b"==") for part in text.split(b".")]
        except ValueError:
            return None

    return parts(changed) == parts(token)


def test_unchanged_token_is_accepted() -> None:
    assert read_token(_SIGNER.token().encode())

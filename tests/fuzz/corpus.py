"""Seeds of the decoders, and mutations of them by Hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FOLDER = Path(__file__).parent.parent / "corpora"
# Boundary values of lengths, shapes and counts.
EDGES = (
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"-1",
    b"1e999",
    b"NaN",
    b"\x00",
)

# The examples are the same in every run. Add inputs of failures found elsewhere to the seeds.
fuzzing = settings(max_examples=150, suppress_health_check=list(HealthCheck))

# Fewer examples, because a request takes milliseconds and a decoder microseconds.
fuzzing_calls = settings(fuzzing, max_examples=40)


def seeds(decoder: str) -> dict[str, bytes]:
    """Return the seed files of one decoder by name."""
    files = {path.name: path.read_bytes() for path in sorted((FOLDER / decoder).iterdir())}
    assert files, f"no seeds of {decoder}; run: python -m tests.fuzz.seeds"
    return files


def replayed(decoder: str) -> pytest.MarkDecorator:
    """Parametrize a test by the seeds, as its argument `data`."""
    files = seeds(decoder)
    return pytest.mark.parametrize("data", files.values(), ids=files)


@st.composite
def mutated(draw: st.DrawFn, decoder: str) -> bytes:
    """Draw a seed with one to four changes: bytes flipped, deleted, inserted, repeated or taken from another seed."""
    of_decoder = list(seeds(decoder).values())
    data = bytearray(draw(st.sampled_from(of_decoder)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 16)))
        change = draw(st.sampled_from(_CHANGES))
        data[start:end] = change(draw, bytes(data[start:end]), of_decoder)
    return bytes(data)


def refuses_or_reads(decode: Callable[[], object], *refusals: type[Exception]) -> bool:
    """Return whether `decode` succeeds. Only `refusals` count as refused; other errors fail the test."""
    try:
        decode()
    except refusals:
        return False
    return True


def _flipped(draw: st.DrawFn, part: bytes, others: Sequence[bytes]) -> bytes:
    return bytes(byte ^ draw(st.integers(0, 255)) for byte in part)


def _deleted(draw: st.DrawFn, part: bytes, others: Sequence[bytes]) -> bytes:
    return b""


def _inserted(draw: st.DrawFn, part: bytes, others: Sequence[bytes]) -> bytes:
    return draw(st.binary(max_size=16)) + part


def _edge(draw: st.DrawFn, part: bytes, others: Sequence[bytes]) -> bytes:
    return draw(st.sampled_from(EDGES))


def _repeated(draw: st.DrawFn, part: bytes, others: Sequence[bytes]) -> bytes:
    return part * draw(st.integers(2, 64))


def _other(draw: st.DrawFn, part: bytes, others: Sequence[bytes]) -> bytes:
    other = draw(st.sampled_from(others))
    start = draw(st.integers(0, len(other)))
    return other[start : start + draw(st.integers(0, 64))]


_CHANGES = (_flipped, _deleted, _inserted, _edge, _repeated, _other)

"""Seeds of a decoder, and what hypothesis makes of them. Knows bytes, no format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FOLDER = Path(__file__).parent.parent / "corpora"
# Numbers that lengths, shapes and counts break at.
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

# The same examples on every run; a failure that hypothesis finds elsewhere is added to the seeds.
fuzzing = settings(max_examples=150, suppress_health_check=list(HealthCheck))

# A whole request takes some milliseconds where a decoder takes microseconds.
fuzzing_calls = settings(fuzzing, max_examples=40)


def seeds(decoder: str) -> dict[str, bytes]:
    """The files of one decoder, by name."""
    found = {path.name: path.read_bytes() for path in sorted((FOLDER / decoder).iterdir())}
    assert found, f"no seeds of {decoder}; run: python -m tests.fuzz.seeds"
    return found


def replayed(decoder: str) -> pytest.MarkDecorator:
    """Run a test once for each seed, as its argument `data`."""
    found = seeds(decoder)
    return pytest.mark.parametrize("data", found.values(), ids=found)


@st.composite
def mutated(draw: st.DrawFn, decoder: str) -> bytes:
    """A seed with one to four changes: bytes turned, cut out, put in, repeated, or those of another seed."""
    of_decoder = list(seeds(decoder).values())
    data = bytearray(draw(st.sampled_from(of_decoder)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 16)))
        change = draw(st.sampled_from(_CHANGES))
        data[start:end] = change(draw, bytes(data[start:end]), of_decoder)
    return bytes(data)


def refuses_or_reads(decode: Callable[[], object], *refusals: type[Exception]) -> bool:
    """Whether something was read. Any error but `refusals` goes on to the test."""
    try:
        decode()
    except refusals:
        return False
    return True


def _turned(draw: st.DrawFn, part: bytes, others: Sequence[bytes]) -> bytes:
    return bytes(byte ^ draw(st.integers(0, 255)) for byte in part)


def _cut(draw: st.DrawFn, part: bytes, others: Sequence[bytes]) -> bytes:
    return b""


def _put_in(draw: st.DrawFn, part: bytes, others: Sequence[bytes]) -> bytes:
    return draw(st.binary(max_size=16)) + part


def _edge(draw: st.DrawFn, part: bytes, others: Sequence[bytes]) -> bytes:
    return draw(st.sampled_from(EDGES))


def _repeated(draw: st.DrawFn, part: bytes, others: Sequence[bytes]) -> bytes:
    return part * draw(st.integers(2, 64))


def _other(draw: st.DrawFn, part: bytes, others: Sequence[bytes]) -> bytes:
    other = draw(st.sampled_from(others))
    start = draw(st.integers(0, len(other)))
    return other[start : start + draw(st.integers(0, 64))]


_CHANGES = (_turned, _cut, _put_in, _edge, _repeated, _other)

"""Request bodies with a Content-Encoding."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from collections.abc import Callable, Iterator

import httpx
import orjson
import pytest

from serving.errors.exceptions import Malformed
from serving.http.middleware.content_encoding import PIECE_BYTES, Decoder
from tests.serving.in_process_service import ROW, LocalService, png

JSON = "application/json"
BODY = orjson.dumps({"instances": [ROW]})


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


CODINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("identity, gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("gzip", lambda data: gzip.compress(data[:10]) + gzip.compress(data[10:])),
    ("identity", bytes),
]


@pytest.mark.parametrize(("coding", "encode"), CODINGS)
def test_every_door_reads_a_decoded_body(
    local_service: LocalService, coding: str, encode: Callable[[bytes], bytes]
) -> None:
    tensor = {"name": "user_id", "shape": [1], "datatype": "BYTES", "data": ["alice"]}
    doors = {
        "/v1/tabular/predict": (BODY, JSON),
        "/v1/recommendations": (b'{"user_id": "alice"}', JSON),
        "/v2/models/recommender/infer": (orjson.dumps({"inputs": [tensor]}), JSON),
        "/v1/images/classify": (png(), "image/png"),
        "/predict_tabular": (BODY, JSON),
        "/v1/tabular/jobs": (orjson.dumps(ROW) + b"\n", "application/x-ndjson"),
    }
    for path, (body, media_type) in doors.items():
        headers = {"Content-Type": media_type, "Content-Encoding": coding}
        response = local_service.post(path, content=encode(body), headers=headers)

        assert response.status_code in (200, 202), (path, response.text)


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip"])
def test_another_encoding_is_refused_by_name(local_service: LocalService, coding: str) -> None:
    response = local_service.post_json("/v1/tabular/predict", BODY, **{"Content-Encoding": coding})

    assert response.status_code == 415
    assert f"'{coding}'" in response.json()["detail"]
    assert response.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("data", [b"not gzip", gzip.compress(BODY)[:-6], gzip.compress(BODY) + b"more"])
def test_a_damaged_body_is_malformed(local_service: LocalService, data: bytes) -> None:
    response = local_service.post_json("/v1/tabular/predict", data, **{"Content-Encoding": "gzip"})

    assert response.status_code == 400
    assert "Content-Encoding gzip" in response.json()["detail"]


@pytest.mark.slow
@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress, raw_deflate])
def test_a_bomb_is_too_large_in_every_door(encode: Callable[[bytes], bytes]) -> None:
    local_service = LocalService(max_body_bytes=1 << 20, job_max_bytes=1 << 20)
    bomb = encode(b"[" + b" " * (64 << 20))
    for path, media_type in (("/v1/tabular/predict", JSON), ("/v1/tabular/jobs", "text/csv")):
        coding = "gzip" if encode is gzip.compress else "deflate"
        headers = {"Content-Type": media_type, "Content-Encoding": coding}
        response = local_service.post(path, content=bomb, headers=headers)

        assert response.status_code == 413, path
        assert "1048576 bytes" in response.json()["detail"]


@pytest.mark.slow
def test_other_requests_get_their_turn_while_a_body_is_decoded() -> None:
    local_service = LocalService(max_body_bytes=1 << 30)
    bomb = gzip.compress(b" " * (400 << 20), compresslevel=1)
    worst_s = 0.0

    async def run() -> None:
        nonlocal worst_s
        async with local_service.client() as client:
            headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
            sent = asyncio.ensure_future(client.post("/v1/images/classify", content=in_parts(bomb), headers=headers))
            while not sent.done():
                begun = time.process_time()
                await asyncio.sleep(0)
                if not sent.done():
                    worst_s = max(worst_s, time.process_time() - begun)
                if sum(pieces) > 200 << 20:
                    break
            sent.cancel()

    pieces: list[int] = []
    feed = Decoder.feed

    def counted(decoder: Decoder, chunk: bytes) -> Iterator[bytes]:
        for piece in feed(decoder, chunk):
            assert len(piece) <= PIECE_BYTES
            pieces.append(len(piece))
            yield piece

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Decoder, "feed", counted)
        asyncio.run(run())

    assert sum(pieces) > 200 << 20
    assert worst_s < 0.05


async def in_parts(data: bytes) -> httpx._types.AsyncByteStream:  # type: ignore[misc]
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]


def test_many_empty_members_are_refused() -> None:
    decoder = Decoder("gzip")

    with pytest.raises(Malformed):
        list(decoder.feed(gzip.compress(b"") * 1000))


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_chunks_of_any_size_decode_to_the_same(size: int) -> None:
    data = BODY * 3000
    for coding, encode in (("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate)):
        decoder, encoded = Decoder(coding), encode(data)
        pieces = [
            piece for start in range(0, len(encoded), size) for piece in decoder.feed(encoded[start : start + size])
        ]
        decoder.close()

        assert b"".join(pieces) == data

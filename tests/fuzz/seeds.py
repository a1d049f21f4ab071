"""Write the seeds in tests/corpora: a valid input of each type, common mistakes and attacks.

    python -m tests.fuzz.seeds

The content is not random, so a second run changes no file.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Mapping

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from models.errors import InvalidInput, PredictionFailed
from serving.access.api_keys import hash_of
from serving.runners.interface import ModelRef
from serving.runners.wire import WireRequest, WireResponse, encode_requests, encode_responses
from tests.fuzz.corpus import FOLDER
from tests.serving.in_process_service import ROW, encoded

BOUNDARY = "boundary"
MODEL = ModelRef("tabular", "v1")


def main() -> None:
    """Write the seeds of every decoder."""
    for decoder, files in {
        "json": json_bodies(),
        "multipart": multipart_bodies(),
        "images": image_files(),
        "tensors": tensor_bodies(),
        "frames": frames(),
        "keys": key_files(),
        "tokens": tokens(),
        "parquet": tables(),
        "messages": messages(),
    }.items():
        folder = FOLDER / decoder
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)


def json_bodies() -> Mapping[str, bytes]:
    """Return bodies of the JSON operations."""
    return {
        "rows.json": orjson.dumps({"instances": [ROW]}),
        "recommend.json": orjson.dumps({"user_id": "alice", "n": 3, "filter_seen": True}),
        "bulk.json": orjson.dumps({"user_ids": ["alice", "nobody"], "n": 2}),
        "image.json": orjson.dumps({"image": base64.b64encode(encoded("PNG", (9, 9, 9))).decode(), "top_k": 1}),
        "feedback.json": orjson.dumps({"events": [{"user_id": "a", "item_id": "1", "kind": "view"}]}),
        "deep-lists.json": b'{"instances": ' + b"[" * 300 + b"]" * 300 + b"}",
        "deep-objects.json": b'{"a":' * 300 + b"1" + b"}" * 300,
        "many-fields.json": orjson.dumps({"instances": [{f"field{number}": number for number in range(100)}]}),
        "repeated-field.json": b'{"user_id": "a", "user_id": "b", "n": 1}',
        "numbers.json": b'{"instances": [{"age": 1e999, "class": NaN, "gr\xc3\xb6\xc3\x9fe": -Infinity}]}',
        "lone-surrogate.json": b'{"user_id": "\\ud800"}',
        "not-utf-8.json": b'{"user_id": "\xff\xfe"}',
        "byte-order-mark.json": b"\xef\xbb\xbf" + orjson.dumps({"user_id": "a"}),
        "huge-integer.json": b'{"user_id": "a", "n": ' + b"9" * 400 + b"}",
        "prototype.json": b'{"__proto__": {"admin": true}, "constructor": 1, "user_id": "a"}',
        "truncated.json": b'{"instances": [{"age": 3',
        "empty": b"",
        "null-byte.json": b'{"user_id": "a\\u0000b", "n": 1}\x00',
    }


def multipart_bodies() -> Mapping[str, bytes]:
    """Return forms with the boundary BOUNDARY."""

    def part(disposition: str, data: bytes, more: str = "") -> bytes:
        return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n{more}\r\n".encode() + data + b"\r\n"

    end = f"--{BOUNDARY}--\r\n".encode()
    image = part('name="image"; filename="a.png"', encoded("PNG", (9, 9, 9), (4, 4)), "Content-Type: image/png\r\n")
    return {
        "image": image + part('name="top_k"', b"3") + end,
        "several": image.replace(b'"image"', b'"images"') * 3 + end,
        "preamble": b"read me not\r\n" + image + end + b"nor me",
        "no-name": part('filename="a"', b"x") + end,
        "names-twice": part('name="a"; name="b"', b"x") + end,
        "star-names": part("name=\"f\"; filename*=UTF-8''%e2%82%ac", b"x") + end,
        "quoted": part('name="a\\"b"; filename="c:\\\\d"', b"x") + end,
        "boundary-inside": part('name="image"; filename="a"', f"\r\n--{BOUNDARY}x\r\n".encode()) + end,
        "no-end": image,
        "no-blank-line": f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n'.encode() + end,
        "bare-newlines": image.replace(b"\r\n", b"\n") + end,
        "long-header": part('name="' + "n" * 5000 + '"', b"x") + end,
        "many-parts": part('name="top_k"', b"1") * 60 + end,
        "null-bytes": part('name="a\x00b"', b"\x00") + end,
        "nested": part('name="image"', image + end, f"Content-Type: multipart/mixed; boundary={BOUNDARY}\r\n") + end,
        "empty": b"",
        "only-end": end,
    }


def image_files() -> Mapping[str, bytes]:
    """Return image files: valid, truncated, with a false size, and of other formats."""
    whole = {
        f"plain.{kind.lower()}": encoded(kind, (200, 30, 30), (12, 9)) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP")
    }
    cut = {f"cut-{name}": data[: len(data) * 2 // 3] for name, data in whole.items()}
    magic = {name.replace("plain", "magic-alone"): data[:12] for name, data in whole.items()}
    return {
        **whole,
        **cut,
        **magic,
        "bomb.png": _png_of_size(65_000, 65_000),
        "bomb-zip.png": _png_of_size(2000, 2000, zlib.compress(b"\x00" * 4_000_000, 9)),
        "bomb.gif": whole["plain.gif"][:6] + struct.pack("<HH", 65_535, 65_535) + whole["plain.gif"][10:],
        "bomb.bmp": whole["plain.bmp"][:18] + struct.pack("<ii", 2**30, 2**30) + whole["plain.bmp"][26:],
        "negative.bmp": whole["plain.bmp"][:18] + struct.pack("<ii", -12, -9) + whole["plain.bmp"][26:],
        "zero.png": _png_of_size(0, 0),
        "png-called-jpeg.jpeg": whole["plain.jpeg"][:4] + whole["plain.png"],
        "mode-cmyk.jpeg": _saved(Image.new("CMYK", (9, 9), (9, 80, 7, 0)), "JPEG"),
        "mode-i16.png": _saved(Image.new("I;16", (9, 9), 4000), "PNG"),
        "mode-palette.png": _saved(Image.new("P", (9, 9), 3), "PNG"),
        "mode-la.png": _saved(Image.new("LA", (9, 9), (9, 100)), "PNG"),
        "animated.gif": _saved(
            Image.new("L", (9, 9), 3), "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 200)]
        ),
        "vector.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "empty": b"",
    }


def tensor_bodies() -> Mapping[str, bytes]:
    """Return bodies of the Open Inference Protocol. The first line is the header length, or empty."""
    users = {"name": "user_id", "datatype": "BYTES", "shape": [2], "data": ["alice", "bob"]}
    numbers = {"name": "age", "datatype": "FP32", "shape": [2, 1], "parameters": {"binary_data_size": 8}}
    texts = {"name": "user_id", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 13}}
    bits = {"name": "b", "datatype": "BOOL", "shape": [3], "parameters": {"binary_data_size": 3}}
    words = struct.pack("<I", 5) + b"alice" + struct.pack("<I", 0)

    def binary(tail: bytes, *inputs: object, **more: object) -> bytes:
        head = orjson.dumps({"inputs": inputs, **more})
        return f"{len(head)}\n".encode() + head + tail

    return {
        "json": b"\n" + orjson.dumps({"id": "7", "inputs": [users]}),
        "numbers": binary(np.array([1, np.nan], "<f4").tobytes(), numbers),
        "texts": binary(words, texts),
        "bits": binary(b"\x00\x01\x01", bits),
        "both": binary(words, users | {"name": "n"}, texts, parameters={"binary_data_output": True}),
        "bad-bits": binary(b"\x00\x01\x02", bits),
        "negative-shape": b"\n" + orjson.dumps({"inputs": [users | {"shape": [-1]}]}),
        "huge-shape": binary(b"", numbers | {"shape": [2**40, 2**40], "parameters": {"binary_data_size": 0}}),
        "many-dimensions": b"\n" + orjson.dumps({"inputs": [users | {"shape": [1] * 64}]}),
        "length-that-lies": binary(struct.pack("<I", 2**32 - 1) + b"alice1234", texts),
        "longer-than-said": binary(words + b"more", texts),
        "header-that-lies": b"999999\n" + orjson.dumps({"inputs": [users]}),
        "nested-data": b"\n" + orjson.dumps({"inputs": [users | {"data": [[["alice"], ["bob"]]]}]}),
        "deep-data": b'\n{"inputs":[{"name":"a","datatype":"BYTES","shape":[1],"data":'
        + b"[" * 50
        + b"]" * 50
        + b"}]}",
        "wanted": b"\n"
        + orjson.dumps({"inputs": [users], "outputs": [{"name": "item_id", "parameters": {"classification": 1}}]}),
        "no-inputs": b'\n{"inputs": []}',
        "empty": b"\n",
    }


def frames() -> Mapping[str, bytes]:
    """Return request and response frames of the runner protocol."""
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    requests = [WireRequest(rows, 2, "a", 5.0), WireRequest(rows[:1], 1, "b", 6.0, "00-trace")]
    answers: list[WireResponse | Exception] = [
        WireResponse(rows, MODEL),
        InvalidInput("no", location=("body", 0)),
        PredictionFailed(),
    ]
    head = {"items": [[1, "a", 1.0, ""]], "kind": "rows", "dtype": "uint8", "row": [2]}

    def frame(header: object, body: bytes = b"") -> bytes:
        text = orjson.dumps(header)
        return struct.pack("<I", len(text)) + text + body

    return {
        "questions": b"".join(encode_requests(requests, now=0.0)),
        "queries": b"".join(encode_requests([WireRequest([{"user_id": "a"}], 1, "a", 5.0)], now=0.0)),
        "answers": b"".join(encode_responses(answers)),
        "infinite-rows": struct.pack("<I", 34) + b'{"items":[[1e400,"a",1,""]]       ' + b"}",
        "floating-rows": frame(head | {"items": [[1e300, "a", 1.0, ""]]}, b"xx"),
        "object-type": frame(head | {"dtype": "object"}, b"xx"),
        "void-rows": frame(head | {"row": [0, 2**62, 2**62]}),
        "empty-rows": frame(head | {"items": [[0, "a", 1.0, ""]], "row": [2**62, 2**62]}),
        "long-prefix": b"\xff\xff\xff\xff{}",
        "deep-header": frame({"items": 1})[:4] + b"[" * 200,
        "empty": b"",
    }


def key_files() -> Mapping[str, bytes]:
    """Return files of API keys."""
    line = f"shop:predict:{hash_of('mk_seed')}"
    return {
        "one": line.encode(),
        "rotated": f"{line}:2027-01-31\n{line}:2027-01-31T12:00:00Z # the new one\n".encode(),
        "commas": f"{line},ops:admin+read:{hash_of('x')},".encode(),
        "first-year": f"{line}:0001-01-01T00:00:00+23:59".encode(),
        "last-year": f"{line}:9999-12-31T23:59:59-23:59".encode(),
        "no-role": f"shop::{hash_of('x')}".encode(),
        "short-hash": b"shop:predict:abc",
        "colons": b":::::::",
        "empty": b"",
    }


def tokens() -> Mapping[str, bytes]:
    """Return tokens without a valid signature, with headers and claims that can break a parser."""

    def token(header: bytes, claims: bytes = b'{"sub":"a"}', signature: bytes = b"sig") -> bytes:
        return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims, signature))

    return {
        "none": token(b'{"alg":"none"}', signature=b""),
        "shared-secret": token(b'{"alg":"HS256","kid":"k1"}'),
        "unsigned": token(b'{"alg":"ES256","kid":"k1"}'),
        "deep-header": token(b'{"alg":' + b"[" * 3000 + b"]" * 3000 + b"}"),
        "deep-claims": token(b'{"alg":"ES256","kid":"k1"}', b"[" * 2500 + b"]" * 2500),
        "kid-of-objects": token(b'{"alg":"ES256","kid":{"a":[1]}}'),
        "own-key": token(b'{"alg":"ES256","kid":"k1","jku":"http://127.0.0.1/","jwk":{"kty":"oct","k":"AA"}}'),
        "critical": token(b'{"alg":"ES256","kid":"k1","crit":["b64"],"b64":false}'),
        "huge-numbers": token(b'{"alg":"ES256","kid":"k1"}', b'{"exp":1e999,"nbf":' + b"9" * 5000 + b"}"),
        "list-header": token(b"[1]"),
        "not-base64": b"a.b.c",
        "dots": b"..",
        "path-kid": token(b'{"alg":"ES256","kid":"../../etc/passwd"}'),
    }


def tables() -> Mapping[str, bytes]:
    """Return feature tables of users."""
    users = pa.table({"user_id": ["a", "b"], "age": [30, None], "tags": [["x"], []], "time": [1, 2]})
    return {
        "users.parquet": _parquet(users),
        "no-id.parquet": _parquet(users.drop_columns("user_id")),
        "null-id.parquet": _parquet(pa.table({"user_id": [None, "a"], "age": [1, 2]})),
        "struct-id.parquet": _parquet(pa.table({"user_id": [{"a": 1}], "age": [1]})),
        "struct-column.parquet": _parquet(pa.table({"user_id": ["a"], "more": [{"a": [1]}]})),
        "text-time.parquet": _parquet(pa.table({"user_id": ["a"], "time": ["soon"]})),
        "list-time.parquet": _parquet(pa.table({"user_id": ["a"], "time": [[1]]})),
        "empty.parquet": _parquet(users.slice(0, 0)),
        "cut.parquet": _parquet(users)[:-30],
        "no-footer.parquet": b"PAR1" + b"\x00" * 40 + b"PAR1",
        "long-footer.parquet": b"PAR1" + b"\xff\xff\xff\x7fPAR1",
        "text.parquet": b"user_id,age\na,3\n",
        "nothing": b"",
    }


def messages() -> Mapping[str, bytes]:
    """Return messages of the WebSocket."""
    row = {"id": 1, "model": "tabular", "input": {"instances": [ROW]}}
    return {
        "row": orjson.dumps(row),
        "user": orjson.dumps({"id": "a", "model": "recommender", "input": {"user_id": "alice"}}),
        "ping": b'{"id": "p", "type": "ping"}',
        "long-id": json.dumps({"id": "x" * 300, "type": "ping"}).encode(),
        "huge-id": b'{"id": 99999999999999999999999, "type": "ping"}',
        "no-id": orjson.dumps(row | {"id": None}),
        "deep": b'{"id":1,"model":"tabular","input":{"a":' + b"[" * 300 + b"]" * 300 + b"}}",
        "surrogate": b'{"id": "\\ud800", "type": "ping"}',
    }


def _png_of_size(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + (chunk(b"IDAT", data) + chunk(b"IEND", b"") if data else b"")


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


if __name__ == "__main__":
    main()

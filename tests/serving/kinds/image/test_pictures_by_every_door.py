"""The same files by every way in: each reads them, or refuses them by name."""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from websockets.sync.client import connect

from serving.jobs.storage.item_file import JobItem
from serving.kinds.image.jobs import ImageProcessor
from tests.hostile_files import png_of
from tests.models.image.pictures import file_of
from tests.serving.http.test_server_sent_events import events
from tests.serving.http_server import listening
from tests.serving.in_process_service import LocalService, encoded, png

BLUE = (0, 0, 255)


def after_header(data: bytes, kind: bytes, content: bytes) -> bytes:
    return data[:33] + png_of((kind, content))[8:] + data[33:]


MORE_THAN_A_MEBIBYTE = zlib.compress(b"x" * ((1 << 20) + 1))
READ = {
    "PNG with text": after_header(png(BLUE), b"zTXt", b"workflow\0\0" + MORE_THAN_A_MEBIBYTE),
    "PNG with a profile": after_header(png(BLUE), b"iCCP", b"icc\0\0" + MORE_THAN_A_MEBIBYTE),
    "PNG with Unicode text": after_header(png(BLUE), b"iTXt", b"workflow\0\1\0\0\0" + MORE_THAN_A_MEBIBYTE),
    "JPEG of a later version": encoded("JPEG", BLUE).replace(b"JFIF\0\1\1", b"JFIF\0\2\7"),
    "WebP with cut metadata": file_of(Image.new("RGB", (20, 10), BLUE), "WEBP", lossless=True, xmp=b"<x/>")[:-3],
    "BMP": encoded("BMP", BLUE),
    "GIF": encoded("GIF", BLUE),
}
REFUSED = {
    "AVIF files are not read; send JPEG, PNG, WebP, GIF or BMP": encoded("AVIF", BLUE),
    "TIFF files are not read; send JPEG, PNG, WebP, GIF or BMP": encoded("TIFF", BLUE),
    "JPEG 2000 files are not read; send JPEG, PNG, WebP, GIF or BMP": encoded("JPEG2000", BLUE),
    "HEIC files are not read; send JPEG, PNG, WebP, GIF or BMP": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "the PNG image cannot be decoded: it is truncated; its chunk IDAT has": png(BLUE)[:50],
}
Door = Callable[[LocalService, bytes], Any]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def by_form(path: str) -> Door:
    return lambda service, data: service.post(path, files={"image": ("a", data)}).json()


def by_body(path: str) -> Door:
    return lambda service, data: service.post(path, content=data, headers={"Content-Type": "image/png"}).json()


def by_json(path: str) -> Door:
    return lambda service, data: service.post(path, json={"image": text(data)}).json()


def by_batch(service: LocalService, data: bytes) -> Any:
    (result,) = service.post("/v1/images/classify-batch", files={"images": ("a", data)}).json()["results"]
    return result


def by_stream(service: LocalService, data: bytes) -> Any:
    return events(service.post("/v1/images/classify-stream", files={"images": data}).text)[0][2]


def by_websocket(service: LocalService, data: bytes) -> Any:
    with listening(service.edged) as address, connect(f"ws://{address}/v1/ws/predict") as socket:
        socket.send(json.dumps({"id": 1, "model": "image", "input": {"image": text(data)}}))
        return json.loads(socket.recv(timeout=60))


def by_tensor(service: LocalService, data: bytes) -> Any:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text(data)]}
    return service.post("/v2/models/image/infer", json={"inputs": [tensor]}).json()


def by_job(service: LocalService, data: bytes) -> Any:
    processor = ImageProcessor(service.image_handler)
    (outcome,) = asyncio.run(processor.process([JobItem({"name": "a"}, data)], {}))
    return outcome.content


DOORS: dict[str, Door] = {
    "form": by_form("/v1/images/classify"),
    "form, version 2": by_form("/v2/images/classify"),
    "body": by_body("/v1/images/classify"),
    "body, version 2": by_body("/v2/images/classify"),
    "JSON": by_json("/v1/images/classify"),
    "JSON, version 2": by_json("/v2/images/classify"),
    "native": by_form("/classify_image"),
    "batch": by_batch,
    "stream": by_stream,
    "WebSocket": by_websocket,
    "Open Inference": by_tensor,
    "job": by_job,
}


@pytest.mark.parametrize("door", DOORS)
def test_a_sound_picture_is_read(local_service: LocalService, door: str) -> None:
    for name, data in READ.items():
        answer = DOORS[door](local_service, data)
        assert '"blue"' in json.dumps(answer), (name, answer)


@pytest.mark.parametrize("door", DOORS)
def test_another_picture_is_refused_by_name(local_service: LocalService, door: str) -> None:
    for says, data in REFUSED.items():
        answer = DOORS[door](local_service, data)
        assert says in json.dumps(answer), answer

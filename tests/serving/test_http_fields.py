"""docs/http-fields.md: each row has a test, and each field that the source names has a row. Fields of single lines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from serving.http.middleware.request_id import RequestId
from tests.serving.event_loop import in_loop
from tests.serving.in_process_service import ROW, LocalService, png
from tests.serving.server.fast_path.fast_path_server import FastPathServer, listening, read_answer, request

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "http-fields.md").read_text()
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| `") or " | r | " in line]
# How the source reads and writes fields, and names such as `X-Session-ID`.
_PATTERNS = (
    r'headers(?:\.get|\.getlist|\.setdefault)\(\s*["\']([\w-]+)["\']',
    r'headers\[["\']([\w-]+)["\']\]',
    r'"([\w-]+)" (?:not )?in [\w.]*headers',
    r'(?:name|header) == b"([\w-]+)"',
    r'["\']([Xx]-[A-Za-z-]*[A-Za-z])["\']',
    r'\(b"([a-z]+(?:-[a-z]+)*)",',
    r'_values\(scope, b"([\w-]+)"',
    r'["\']([A-Z][A-Za-z]*(?:-[A-Z][A-Za-z0-9]*)+)["\']',
)
# Values that have the form of a name.
_NO_FIELDS = {"close", "sci-fi", "x-gzip"}


def test_every_row_names_a_test() -> None:
    tests = "\n".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    assert len(ROWS) > 50
    for row in ROWS:
        name = row[-1].strip("` ")
        assert re.search(rf"def {name}\(", tests), row


def test_every_field_of_the_source_has_a_row() -> None:
    named = {name.lower() for row in ROWS for name in re.findall(r"`([\w*-]+)`", row[0])}
    for file in (ROOT / "serving").rglob("*.py"):
        source = file.read_text()
        for pattern in _PATTERNS:
            for name in {match.lower() for match in re.findall(pattern, source)} - _NO_FIELDS:
                assert name in named, f"{file.name} names the field '{name}', and docs/http-fields.md does not"


@pytest.mark.parametrize(
    "more",
    [[b"Transfer-Encoding: chunked"], [b"Content-Length: 9"], [b"Transfer-Encoding: gzip, chunked"]],
    ids=["both", "two lengths", "gzip"],
)
@in_loop
async def test_a_length_that_is_ambiguous_is_refused(more: list[bytes]) -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(request(more=more))
        assert (await read_answer(reader))[0] == 400
        assert not server.batches
        assert not server.by_application
        writer.close()


@in_loop
async def test_every_response_has_a_date() -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        for more in ((), (b"X-Plain: no",)):
            writer.write(request(more=more))
            headers = (await read_answer(reader))[1]
            assert headers["date"].endswith("gmt")
            assert headers["server"] == "uvicorn"
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert "x-process-time" in (await read_answer(reader))[1]
        writer.close()


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json", 200), ("Application/JSON ; charset=UTF-8", 200), ('application/json;charset="utf-8"', 200),
     ("application/json;charset=latin-1", 200), ("application/json; a=b;c", 200), ("text/json", 415), ("", 415)],
)  # fmt: skip
def test_a_media_type_is_compared_without_parameters(
    local_service: LocalService, content_type: str, status: int
) -> None:
    sent = {"Content-Type": content_type} if content_type else {}
    body = json.dumps({"instances": [ROW]})
    assert local_service.post("/v1/tabular/predict", content=body, headers=sent).status_code == status


def test_streams_are_not_buffered_by_proxies(local_service: LocalService) -> None:
    response = local_service.post("/v1/recommendations/stream", json={"user_ids": ["alice"]})
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["content-type"].startswith("text/event-stream")


def test_a_cache_control_may_come_in_several_lines() -> None:
    local_service = LocalService(cache_bytes=1_000_000)
    for lines in (["no-transform", "No-Store"], ['private="a, b"', 'max-age="0"'], ["max-stale=5,no-cache"]):
        headers = [("Cache-Control", line) for line in lines]
        response = local_service.post("/v1/images/classify", files={"image": ("a.png", png())}, headers=headers)
        assert response.headers["x-cache"] == "bypass", lines


@pytest.mark.parametrize(
    ("offered", "is_kept"),
    [(b"mine-1.a_B", True), (b"x" * 128, True), (b"x" * 129, False), (b"a b", False), (b"", False), (b"\xff", False)],
)
@in_loop
async def test_an_id_of_the_client_is_returned_if_it_is_valid(offered: bytes, is_kept: bool) -> None:
    sent: list[Any] = []

    async def keep(message: Any) -> None:
        sent.append(message)

    async def nothing() -> Any:
        raise AssertionError("no body is read")

    scope = {"type": "http", "headers": [(b"x-request-id", offered)]}
    await RequestId(Response())(scope, nothing, keep)
    returned = dict(sent[0]["headers"])[b"x-request-id"]
    assert (returned == offered) is is_kept
    assert re.fullmatch(rb"[A-Za-z0-9._-]{1,128}", returned)

"""Representations that are kept: compressed once, negotiated by Accept-Encoding, and known by their entity tag."""

from __future__ import annotations

import gzip
import threading
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from serving.http.representation import Representation, RepresentationStart, accepts_gzip
from tests.serving.in_process_service import TABLE_CARD, LocalService

PAGES = ("/", "/redoc", "/openapi.json", "/docs.json", "/ui/swagger-ui-bundle.js", "/ui/pages.css", "/metrics")


@pytest.mark.parametrize(
    ("header", "is_accepted"),
    [
        ("", False), ("gzip", True), ("GZIP", True), ("x-gzip", True), ("deflate, gzip;q=0.5, br", True), ("*", True),
        ("gzip;q=0", False), ("gzip; q=0.000", False), ("*;q=0, gzip", True), ("gzip;q=0, *", False),
        ("identity", False), ("br", False), ("gzipped", False),
        ("identity, gzip;q=0.5", False), ("gzip;q=1, identity; q=0.5", True),
        ("identity;q=0, *", True), ("gzip;q=0.5;x=1", True),
    ],
)  # fmt: skip
def test_accepts_gzip(header: str, is_accepted: bool) -> None:
    assert accepts_gzip([header]) is is_accepted
    assert accepts_gzip([each.strip() for each in header.split(",")]) is is_accepted


@pytest.mark.parametrize("end", [b"", b"}", b"end" * 1000])
def test_an_end_is_part_of_the_body_of_the_compressed_body_and_of_the_tag(end: bytes) -> None:
    body = bytes(range(256)) * 40 + end
    ended = RepresentationStart(body[: len(body) - len(end)], "text/x").ended(end)
    assert ended.body == gzip.decompress(ended.compressed) == body
    assert ended.etag == Representation.of(body, "text/x").etag


def test_a_body_that_compression_does_not_shorten_is_sent_as_it_is() -> None:
    assert Representation.of(b"short" * 10, "text/x").compressed == b""
    assert Representation.of(gzip.compress(bytes(range(256)) * 4, mtime=0)[:1001], "text/x").body


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_the_same_compressed_and_unchanged_by_its_tag(local_service: LocalService, path: str) -> None:
    plain = local_service.get(path, headers={"Accept-Encoding": "gzip;q=0"})
    packed = local_service.get(path, headers={"Accept-Encoding": "gzip"})

    assert plain.status_code == packed.status_code == 200
    assert plain.content == packed.content
    assert plain.headers["etag"] == packed.headers["etag"]
    assert "content-encoding" not in plain.headers
    assert len(plain.content) < 1000 or packed.headers["content-encoding"] == "gzip"
    assert all("Accept-Encoding" in each.headers["vary"] for each in (plain, packed))
    head = local_service.ask("HEAD", path, headers={"Accept-Encoding": "gzip"})
    assert head.headers["content-length"] == packed.headers["content-length"]
    again = local_service.get(path, headers={"If-None-Match": plain.headers["etag"]})
    assert [again.status_code, again.content, again.headers["etag"]] == [304, b"", plain.headers["etag"]]


@pytest.fixture
def compressions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that compress a body of more than a few bytes."""
    threads: list[str] = []
    compressor: Callable[..., Any] = zlib.compressobj

    def record(*args: Any) -> Any:
        threads.append(threading.current_thread().name)
        return compressor(*args)

    monkeypatch.setattr("zlib.compressobj", record)
    return threads


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_compressed_once_and_not_in_the_event_loop(
    local_service: LocalService, compressions: list[str], path: str
) -> None:
    for number in range(5):
        sent = {"Accept-Encoding": "gzip", "Host": f"host-{number}", "X-Forwarded-Prefix": f"/{number}"}
        assert local_service.get(path, headers=sent).status_code == 200
    assert len(compressions) == 1
    assert compressions[0] != threading.main_thread().name


def test_the_document_is_built_again_for_another_version_of_a_model(
    local_service: LocalService, compressions: list[str]
) -> None:
    before = local_service.get("/docs.json").json()
    local_service.serve_table(replace(TABLE_CARD, inputs=TABLE_CARD.inputs[:2]), 2)
    assert local_service.get("/docs.json").json() != before
    local_service.get("/docs.json")
    assert len(compressions) == 2


def test_every_server_url_has_its_own_tag(local_service: LocalService) -> None:
    tags = {local_service.get("/docs.json", headers={"Host": host}).headers["etag"] for host in ("a", "b")}
    assert len(tags) == 2


@pytest.mark.parametrize(
    ("header", "status"),
    [('W/"x", {}', 304), ("{}", 304), ("*", 304), ('"a, *, b"', 200), ("x, *", 200), ('"x"', 200), ("", 200)],
)
@pytest.mark.parametrize("path", ["/redoc", "/v1/models"])
def test_entity_tags_are_compared_as_a_list(local_service: LocalService, path: str, header: str, status: int) -> None:
    etag = local_service.get(path).headers["etag"]
    sent = {"If-None-Match": header.format(etag.removeprefix("W/"))}
    assert local_service.get(path, headers=sent).status_code == status


@pytest.mark.parametrize("path", ["/redoc", "/openapi.json", "/v1/models", "/v1/jobs"])
def test_if_match_matches_no_weak_tag(local_service: LocalService, path: str) -> None:
    response = local_service.get(path)
    refused = local_service.get(path, headers={"If-Match": response.headers["etag"]})
    assert (refused.status_code, refused.json()["type"]) == (412, "/problems/precondition-failed")
    assert local_service.get(path, headers={"If-Match": "*"}).status_code == 200


def test_a_change_with_if_match_is_not_executed(local_service: LocalService) -> None:
    job = local_service.post("/v1/recommendations/jobs", json={"user_ids": ["alice"]}).json()
    for sent, status in (({"If-Match": 'W/"x"'}, 412), ({"If-Match": "*"}, 204)):
        assert local_service.ask("DELETE", job["links"]["job"], headers=sent).status_code == status


@pytest.mark.parametrize("sent", [{"Range": "bytes=0-9"}, {"Range": "bytes=5-", "If-Range": '"x"'},
                                  {"If-Modified-Since": "Fri, 27 Nov 2099 00:00:00 GMT"},
                                  {"If-Unmodified-Since": "Fri, 27 Nov 1999 00:00:00 GMT"}])  # fmt: skip
def test_ranges_and_dates_are_ignored(local_service: LocalService, sent: dict[str, str]) -> None:
    plain, response = local_service.get("/redoc"), local_service.get("/redoc", headers=sent)
    assert (response.status_code, response.content) == (200, plain.content)
    assert "last-modified" not in response.headers
    assert "content-range" not in response.headers

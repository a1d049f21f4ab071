"""Which callers may open a WebSocket, where, and how many at a time; others get an answer over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from serving.access.api_keys import hash_of
from tests.live.server import wait_for
from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.http_server import listening
from tests.serving.in_process_service import LocalService
from tests.serving.test_websocket import PREDICT, send


@pytest.fixture
def address(local_service: LocalService) -> Iterator[str]:
    with listening(local_service.edged) as address:
        yield address


def test_a_page_of_another_host_may_not_connect_unless_a_setting_names_it() -> None:
    with listening(LocalService(cors_origins=("https://shop.example",)).edged) as address:
        url = f"ws://{address}/v1/ws/predict"
        for origin in ("https://evil.example", "null", "http://[", ""):
            with pytest.raises(InvalidStatus) as caught:
                connect(url, additional_headers={"Origin": origin})
            assert caught.value.response.status_code == 403, origin
        for origin in ("https://shop.example", f"http://{address}"):
            with connect(url, origin=Origin(origin)) as socket:
                assert send(socket, {"id": 1, "type": "ping"})


def test_the_host_of_a_page_is_the_one_that_a_trusted_proxy_forwards() -> None:
    forwarded = {"X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https", "Origin": "https://shop.example"}
    for trusted in (("127.0.0.1",), ()):
        with listening(LocalService(trusted_proxies=trusted).edged) as address:
            try:
                with connect(f"ws://{address}/v1/ws/predict", additional_headers=forwarded) as socket:
                    assert send(socket, {"id": 1, "type": "ping"})
                is_open = True
            except InvalidStatus:
                is_open = False
            assert is_open is bool(trusted)


def test_who_has_no_key_gets_401_and_who_may_not_predict_403() -> None:
    local_service = LocalService(api_keys=API_KEYS)
    with listening(local_service.edged) as address:
        url = f"ws://{address}/v1/ws/predict"
        for given, status in (({}, 401), ({"X-API-Key": "mk_wrong"}, 401), (headers("read"), 403)):
            with pytest.raises(InvalidStatus) as caught:
                connect(url, additional_headers=given)
            assert caught.value.response.status_code == status
            assert caught.value.response.headers["content-type"] == "application/problem+json"
        with connect(url, additional_headers=headers("predict")) as socket:
            assert send(socket, PREDICT)[1]["status"] == "ok"


def test_more_connections_than_a_setting_says_get_503_until_one_leaves() -> None:
    with listening(LocalService(max_websockets=1).edged) as address:
        url = f"ws://{address}/v1/ws/predict"
        with connect(url):
            with pytest.raises(InvalidStatus) as caught:
                connect(url)
            assert caught.value.response.status_code == 503
            assert "retry-after" in caught.value.response.headers
        wait_for(lambda: is_let_in(url), "a place after the first has left")


def test_one_caller_cannot_open_every_connection() -> None:
    keys = [f"mk_key-{name}-of-the-tests" for name in "abc"]
    api_keys = ",".join(f"{name}:predict:{hash_of(key)}" for name, key in zip("abc", keys, strict=True))
    local_service = LocalService(max_websockets=4, api_keys=api_keys)
    with listening(local_service.edged) as address, contextlib.ExitStack() as stack:
        opened, statuses = dict.fromkeys(keys, 0), []

        def open_all(key: str) -> None:
            while True:
                socket = connect(f"ws://{address}/v1/ws/predict", additional_headers={"X-API-Key": key})
                stack.enter_context(socket)
                opened[key] += 1

        for key in keys:
            with pytest.raises(InvalidStatus) as caught:
                open_all(key)
            statuses.append(caught.value.response.status_code)
            assert caught.value.response.headers["retry-after"] == "1"

        assert list(opened.values()) == [2, 1, 1]
        # The last caller meets the limit itself.
        assert statuses == [429, 429, 503]


def is_let_in(url: str) -> bool:
    try:
        with connect(url):
            return True
    except InvalidStatus:
        return False


@pytest.mark.parametrize("path", ["/v1/ws/nothing", "/v1/models", "/"])
def test_where_there_is_no_websocket_the_answer_is_404(address: str, path: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(f"ws://{address}{path}")

    assert caught.value.response.status_code == 404
    assert caught.value.response.headers["content-type"] == "application/problem+json"


def test_a_slash_at_the_end_of_the_path_changes_nothing(address: str) -> None:
    with connect(f"ws://{address}/v1/ws/predict/") as socket:
        assert send(socket, PREDICT)[1]["status"] == "ok"

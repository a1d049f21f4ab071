"""Tests of the WebSocket: concurrent requests to all models, errors, limits and close codes."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from serving.app import build_app
from serving.http.middleware.metrics import RequestMetrics
from serving.http.middleware.request_id import RequestId
from serving.http.middleware.stack import middleware_stack
from serving.observability.access_log import AccessLog
from serving.observability.metrics import ServiceMetrics
from serving.observability.request_recorder import RequestRecorder
from serving.routes.health import Metrics
from serving.runners.interface import RunnerResponse
from tests.live.server import wait_for
from tests.serving.access.credentials import API_KEYS, KEYS
from tests.serving.http_server import listening
from tests.serving.in_process_service import ROW, Catalog, LocalService, png

TEXT = base64.b64encode(png((0, 0, 255))).decode()
PREDICT = {"id": 1, "model": "tabular", "input": {"instances": [ROW]}}


@pytest.fixture
def address(local_service: LocalService) -> Iterator[str]:
    with listening(local_service.edged) as address:
        yield address


def send(socket: ClientConnection, *messages: Any) -> dict[Any, Any]:
    """Send `messages` and return the responses by id."""
    for message in messages:
        socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
    answers = [json.loads(socket.recv(timeout=60)) for _ in messages]
    return {answer["id"]: answer for answer in answers}


def close_reason(socket: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as caught:
        socket.recv(timeout=60)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_a_page_sends_its_key_as_a_subprotocol() -> None:
    service = LocalService(api_keys=API_KEYS, cors_origins=("https://shop.example",))
    origin = Origin("https://shop.example")
    with listening(service.edged) as address:
        url = f"ws://{address}/v1/ws/predict"
        offered = [Subprotocol("bearer"), Subprotocol(KEYS["predict"])]
        with connect(url, origin=origin, subprotocols=offered) as socket:
            assert socket.subprotocol == "bearer"
            assert send(socket, PREDICT)[1]["status"] == "ok"
        for wrong in ([Subprotocol("bearer"), Subprotocol("wrong")], [Subprotocol("bearer")], None):
            with pytest.raises(InvalidStatus, match="401"), connect(url, origin=origin, subprotocols=wrong):
                pass


def test_all_models_respond_by_id(local_service: LocalService, address: str) -> None:
    with connect(f"ws://{address}/v1/ws/predict") as socket:
        answers = send(
            socket,
            {"id": "a", "model": "image", "input": {"image": TEXT, "top_k": 1}},
            PREDICT,
            {"id": "c", "model": "recommender", "input": {"user_id": "alice", "n": 2}},
        )

    assert {answer["status"] for answer in answers.values()} == {"ok"}
    assert answers["a"]["result"]["predictions"][0]["label"] == "blue"
    expected = local_service.post("/v1/tabular/predict", json=PREDICT["input"]).json()
    assert answers[1]["result"]["predictions"] == expected["predictions"]
    assert len(answers["c"]["result"]["items"]) == 2


def test_slow_request_does_not_delay_others(local_service: LocalService, address: str) -> None:
    gate, predict = asyncio.Event(), local_service.table.predict
    loops: list[asyncio.AbstractEventLoop] = []

    async def slow(rows: Any, *, deadline: float, **more: Any) -> RunnerResponse:
        loops.append(asyncio.get_running_loop())
        await gate.wait()
        return await predict(rows, deadline=deadline)

    local_service.table.predict = slow  # type: ignore[method-assign]
    with connect(f"ws://{address}/v1/ws/predict") as socket:
        socket.send(json.dumps(PREDICT))
        quick = send(
            socket,
            {"id": 2, "model": "recommender", "input": {"user_id": "bob"}},
        )
        pong = send(socket, {"id": 3, "type": "ping"})
        repeated = send(socket, PREDICT)
        loops[0].call_soon_threadsafe(gate.set)
        late = json.loads(socket.recv(timeout=60))

    assert quick[2]["status"] == "ok"
    assert pong[3] == {"id": 3, "type": "pong"}
    assert "in flight" in repeated[1]["error"]["detail"]
    assert (late["id"], late["status"]) == (1, "ok")


@pytest.mark.parametrize(
    ("message", "id_", "status", "says"),
    [
        ("{", None, 400, "Invalid JSON"),
        ("[]", None, 422, "valid dictionary"),
        ({"model": "tabular", "input": {}}, None, 422, "id"),
        ({"id": 1.5, "model": "tabular", "input": {}}, None, 422, "id"),
        ({"id": 2**70, "model": "tabular", "input": {}}, None, 422, "id"),
        ({"id": 1, "model": "other", "input": {}}, 1, 422, "model"),
        ({"id": 1, "model": "tabular"}, 1, 422, "a message has a model and an input"),
        ({"id": 1, "model": "tabular", "input": {"instances": []}}, 1, 422, "at least 1"),
        ({"id": 1, "model": "tabular", "input": {"instances": [{**ROW, "age": "old"}]}}, 1, 422, "age"),
        ({"id": 1, "model": "tabular", "input": {"instances": [{**ROW, "age": 2**70}]}}, 1, 422, "less than or equal"),
        ('{"id": 1, "model": "tabular", "input": {"instances": [{"age": 1e999}]}}', 1, 422, "finite number"),
        ({"id": 1, "model": "image", "input": {"image": "aGVsbG8="}}, 1, 415, "not an image"),
        ({"id": 1, "model": "image", "input": {"url": "http://localhost/"}}, 1, 422, "not fetched by URL here"),
        ({"id": 1, "model": "recommender", "input": {"user_id": "a", "n": 0}}, 1, 422, "greater than"),
        ({"id": 1, "model": "recommender", "input": {"user_id": "a"}, "more": 1}, 1, 422, "Unknown field"),
    ],
)
def test_invalid_message_gets_a_problem_and_the_connection_stays_open(
    address: str, message: Any, id_: Any, status: int, says: str
) -> None:
    with connect(f"ws://{address}/v1/ws/predict") as socket:
        answer = send(socket, message)[id_]
        assert answer["status"] == "error"
        assert answer["error"]["status"] == status
        assert says in answer["error"]["detail"]
        assert send(socket, {"id": "still", "type": "ping"})["still"]["type"] == "pong"


def test_too_many_messages_in_flight_are_refused_at_once(local_service: LocalService, address: str) -> None:
    never = asyncio.Event()

    async def hang(rows: Any, *, deadline: float, **more: Any) -> RunnerResponse:
        await never.wait()
        raise AssertionError

    local_service.table.predict = hang  # type: ignore[method-assign]
    with connect(f"ws://{address}/v1/ws/predict") as socket:
        for number in range(32):
            socket.send(json.dumps(PREDICT | {"id": number}))
        refused = send(socket, PREDICT | {"id": "one more"})["one more"]

    assert refused["error"]["type"] == "/problems/overloaded"


def test_binary_message_closes_with_1003(address: str) -> None:
    with connect(f"ws://{address}/v1/ws/predict") as socket:
        socket.send(b"\x00")
        assert close_reason(socket) == (1003, "messages are JSON text")


def test_message_over_the_body_limit_closes_with_1009() -> None:
    with (
        listening(LocalService(max_body_bytes=1000).edged) as address,
        connect(f"ws://{address}/v1/ws/predict") as socket,
    ):
        socket.send(json.dumps(PREDICT | {"id": "x" * 1000}))
        assert close_reason(socket)[0] == 1009


def test_rate_limit_counts_every_message() -> None:
    with (
        listening(LocalService(rate_limit_predict=3).edged) as address,
        connect(f"ws://{address}/v1/ws/predict") as socket,
    ):
        # The connection itself counts as the first request.
        answers = send(socket, *(PREDICT | {"id": number} for number in range(4)))

    assert sorted(answer["status"] for answer in answers.values()) == ["error", "error", "ok", "ok"]
    assert {answer["error"]["status"] for answer in answers.values() if "error" in answer} == {429}


def test_idle_connection_closes_with_4408() -> None:
    with (
        listening(LocalService(websocket_idle_s=0.2).edged) as address,
        connect(f"ws://{address}/v1/ws/predict") as socket,
    ):
        assert close_reason(socket) == (4408, "no message for 0.2 s")


@pytest.mark.slow
def test_idle_limit_ignores_connections_with_requests_in_flight(local_service: LocalService) -> None:
    is_called, predict = threading.Event(), local_service.table.predict

    async def slow(rows: Any, *, deadline: float, **more: Any) -> RunnerResponse:
        is_called.set()
        # Longer than the idle limit, by the same clock.
        await asyncio.sleep(0.3)
        return await predict(rows, deadline=deadline)

    def status_of(address: str) -> str:
        while True:
            with connect(f"ws://{address}/v1/ws/predict") as socket:
                try:
                    return str(send(socket, PREDICT)[1]["status"])
                except ConnectionClosed:
                    # The connection was idle for too long before the request.
                    if is_called.is_set():
                        raise

    for each in (LocalService(websocket_idle_s=0.1), local_service):
        is_called.clear()
        each.table.predict = slow  # type: ignore[method-assign]
        with listening(each.edged) as address:
            assert status_of(address) == "ok"


def test_messages_and_connections_are_in_metrics_and_log(local_service: LocalService) -> None:
    telemetry, stream = ServiceMetrics(), io.StringIO()
    log = AccessLog(stream)
    app = RequestId(RequestMetrics(local_service.edged, recorder=RequestRecorder(telemetry, log)))
    with listening(app) as address:
        url = f"ws://{address}/v1/ws/predict"
        with connect(url, additional_headers={"X-Request-ID": "socket-1"}) as socket:
            assert socket.response is not None
            assert socket.response.headers["x-request-id"] == "socket-1"
            send(socket, PREDICT, PREDICT | {"id": 2, "input": {}}, {"id": 3, "type": "ping"})
        with connect(url) as socket:
            socket.send(b"\x00")
            close_reason(socket)
        with pytest.raises(InvalidStatus):
            connect(url, origin=Origin("https://evil.example"))
        wait_for(lambda: telemetry._open_sockets == 0, "both connections are closed")
    log.flush()
    telemetry.flush()

    text, lines = telemetry.content()[0].decode(), stream.getvalue()
    for status in (200, 403, 422):
        sample = f'makunouchi_requests_total{{method="WEBSOCKET",route="/v1/ws/predict",status="{status}"}} 1.0'
        assert sample in text
    assert 'makunouchi_websockets_closed_total{code="1000"} 1.0' in text
    assert 'makunouchi_websockets_closed_total{code="1003"} 1.0' in text
    assert "makunouchi_websockets_open 0.0" in text
    assert lines.count("request_id=socket-1 method=WEBSOCKET route=/v1/ws/predict status=") == 3
    assert "status=1000" in lines


def test_protocol_ping_gets_a_pong(address: str) -> None:
    with connect(f"ws://{address}/v1/ws/predict") as socket:
        assert socket.ping().wait(60)


def test_stopping_service_closes_with_1001(local_service: LocalService) -> None:
    stopping: list[bool] = []
    app = build_app(
        local_service.handlers,
        Catalog(local_service),
        Metrics(lambda: b""),
        local_service.settings,
        version="1",
        is_stopping=lambda: bool(stopping),
    )
    with listening(middleware_stack(app, local_service.settings)) as address:
        with connect(f"ws://{address}/v1/ws/predict") as socket:
            assert send(socket, PREDICT)[1]["status"] == "ok"
            stopping.append(True)
            assert close_reason(socket) == (1001, "the service is stopping")
        with pytest.raises(InvalidStatus) as caught:
            connect(f"ws://{address}/v1/ws/predict")
        assert caught.value.response.status_code == 503

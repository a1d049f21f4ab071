"""What is leaned on inside uvicorn, one test each: an upgrade that moves it fails here, by name."""

from __future__ import annotations

import inspect
import re
import signal

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from serving.server.fast_path.request import FastRequest


def test_uvicorns_receive_belongs_to_what_knows_of_disconnects() -> None:
    assert inspect.iscoroutinefunction(RequestResponseCycle.receive)
    assert "self.disconnected = False" in inspect.getsource(RequestResponseCycle.__init__)
    assert "self.cycle.disconnected = True" in inspect.getsource(HttpToolsProtocol.connection_lost)


def test_uvicorn_takes_signals_before_the_lifespan_starts_and_by_signal_signal() -> None:
    source = inspect.getsource(uvicorn.Server)
    assert "with self.capture_signals():\n            await self._serve(sockets)" in source
    assert "signal.signal(sig, self.handle_exit)" in source
    assert [*inspect.signature(uvicorn.Server.handle_exit).parameters] == ["self", "sig", "frame"]
    assert signal.SIGTERM in uvicorn.server.HANDLED_SIGNALS


def test_uvicorns_receive_belongs_to_what_holds_the_transport() -> None:
    assert "self.transport = transport" in inspect.getsource(RequestResponseCycle.__init__)


def test_uvicorns_receive_belongs_to_what_knows_whether_the_body_is_here() -> None:
    assert "self.more_body = True" in inspect.getsource(RequestResponseCycle.__init__)
    assert "self.cycle.more_body = False" in inspect.getsource(HttpToolsProtocol.on_message_complete)


def test_uvicorns_server_is_who_handles_sigterm_and_asks_its_configuration_for_the_protocol_after_the_start() -> None:
    source = inspect.getsource(uvicorn.Server.startup)
    assert source.index("await self.lifespan.startup()") < source.index("config.http_protocol_class(")
    config = uvicorn.Config("x:y", http="httptools")
    config.load_app = lambda: None  # type: ignore[method-assign]
    config.load()
    assert config.http_protocol_class is HttpToolsProtocol
    assert config.ws_protocol_class is WebSocketsSansIOProtocol
    source = inspect.getsource(HttpToolsProtocol)
    assert "self.ws_protocol_class = config.ws_protocol_class" in source
    # What the strict protocol stands on.
    assert "self.pipeline.appendleft((self.cycle, app))" in source
    assert "self.headers.append((name, value))" in source
    assert "lenient_data_after_close=True" in source
    reading = inspect.getsource(HttpToolsProtocol.data_received)
    assert "self._unset_keepalive_if_required()" in reading
    assert "self.parser.feed_data(data)" in reading
    assert "if self._should_upgrade():\n                self.handle_websocket_upgrade()" in reading
    assert "self.handshake_initiated = True" in inspect.getsource(WebSocketsSansIOProtocol.handle_connect)


def test_uvicorns_protocol_asks_nothing_of_a_cycle_that_a_short_request_does_not_have() -> None:
    asked = set(re.findall(r"self\.cycle\.(\w+)", inspect.getsource(HttpToolsProtocol)))
    assert asked == {"body", "disconnected", "keep_alive", "message_event", "more_body", "response_complete"}
    assert asked <= set(FastRequest.__slots__)
    assert "existing_cycle is None or existing_cycle.response_complete" in inspect.getsource(
        HttpToolsProtocol.on_headers_complete
    )


def test_a_cycle_of_uvicorn_is_made_of_these() -> None:
    assert [*inspect.signature(RequestResponseCycle).parameters] == [
        "scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers", "message_event",
        "expect_100_continue", "keep_alive", "on_response",
    ]  # fmt: skip
    assert "await self.message_event.wait()" in inspect.getsource(RequestResponseCycle.receive)

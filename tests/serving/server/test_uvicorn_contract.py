"""Internals of uvicorn that the service depends on: an upgrade that changes one fails the test of its name."""

from __future__ import annotations

import inspect
import re
import signal

import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from serving.server.fast_path.request import FastRequest


def test_receive_is_a_method_of_the_object_with_disconnected() -> None:
    assert inspect.iscoroutinefunction(RequestResponseCycle.receive)
    assert "self.disconnected = False" in inspect.getsource(RequestResponseCycle.__init__)
    assert "self.cycle.disconnected = True" in inspect.getsource(HttpToolsProtocol.connection_lost)


def test_signal_handlers_are_installed_before_the_lifespan_starts() -> None:
    source = inspect.getsource(uvicorn.Server)
    assert "with self.capture_signals():\n            await self._serve(sockets)" in source
    assert "signal.signal(sig, self.handle_exit)" in source
    assert [*inspect.signature(uvicorn.Server.handle_exit).parameters] == ["self", "sig", "frame"]
    assert signal.SIGTERM in uvicorn.server.HANDLED_SIGNALS


def test_receive_is_a_method_of_the_object_with_the_transport() -> None:
    assert "self.transport = transport" in inspect.getsource(RequestResponseCycle.__init__)


def test_receive_is_a_method_of_the_object_with_more_body() -> None:
    assert "self.more_body = True" in inspect.getsource(RequestResponseCycle.__init__)
    assert "self.cycle.more_body = False" in inspect.getsource(HttpToolsProtocol.on_message_complete)


def test_the_server_handles_sigterm_and_reads_the_protocol_after_the_start() -> None:
    source = inspect.getsource(uvicorn.Server.startup)
    assert source.index("await self.lifespan.startup()") < source.index("config.http_protocol_class(")
    config = uvicorn.Config("x:y", http="httptools")
    config.load_app = lambda: None  # type: ignore[method-assign]
    config.load()
    assert config.http_protocol_class is HttpToolsProtocol
    assert config.ws_protocol_class is WebSocketsSansIOProtocol
    source = inspect.getsource(HttpToolsProtocol)
    assert "self.ws_protocol_class = config.ws_protocol_class" in source
    # Used by HttpProtocol.
    assert "self.pipeline.appendleft((self.cycle, app))" in source
    assert "self.headers.append((name, value))" in source
    assert "lenient_data_after_close=True" in source
    reading = inspect.getsource(HttpToolsProtocol.data_received)
    assert "self._unset_keepalive_if_required()" in reading
    assert "self.parser.feed_data(data)" in reading
    assert "if self._should_upgrade():\n                self.handle_websocket_upgrade()" in reading
    assert "self.handshake_initiated = True" in inspect.getsource(WebSocketsSansIOProtocol.handle_connect)


def test_fast_requests_have_every_attribute_that_the_protocol_reads() -> None:
    attributes = set(re.findall(r"self\.cycle\.(\w+)", inspect.getsource(HttpToolsProtocol)))
    assert attributes == {"body", "disconnected", "keep_alive", "message_event", "more_body", "response_complete"}
    assert attributes <= set(FastRequest.__slots__)
    assert "existing_cycle is None or existing_cycle.response_complete" in inspect.getsource(
        HttpToolsProtocol.on_headers_complete
    )


def test_the_arguments_of_a_request_response_cycle() -> None:
    assert [*inspect.signature(RequestResponseCycle).parameters] == [
        "scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers", "message_event",
        "expect_100_continue", "keep_alive", "on_response",
    ]  # fmt: skip
    assert "await self.message_event.wait()" in inspect.getsource(RequestResponseCycle.receive)


def test_every_response_starts_as_half_closed_clients_receive_it() -> None:
    assert all(line.startswith(b"HTTP/1.1 ") for line in httptools_impl.STATUS_LINE.values())
    assert "self.response_started = False" in inspect.getsource(RequestResponseCycle.__init__)
    sending = inspect.getsource(RequestResponseCycle.send)
    assert "content = [STATUS_LINE[status_code]]" in sending
    assert 'self.transport.write(b"".join(content))' in sending

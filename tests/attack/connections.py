"""Raw TCP connections of clients that break the rules."""

from __future__ import annotations

import base64
import contextlib
import re
import secrets
import socket
from collections.abc import Iterator, Mapping

from tests.attack.target import KEYS

RECEIVE = 1 << 16


def head(method: str, path: str, headers: Mapping[str, str], *, caller: str | None = None) -> bytes:
    """Return the head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: service"]
    lines += [f"X-API-Key: {KEYS[caller]}"] if caller is not None else []
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def exchange(port: int, request: bytes, *, closes: bool = False, timeout_s: float = 15.0) -> bytes:
    """Send bytes and return everything until the server closes, or for `timeout_s`. `closes`: close our side first."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection, contextlib.suppress(OSError):
        connection.sendall(request)
        if closes:
            connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(RECEIVE):
            received += part
    return received


def outcome(response: bytes) -> str:
    """Return the status of each response of a connection, or `no response`."""
    statuses = [status.decode() for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", response)]
    return " then ".join(statuses) if statuses else "no response"


@contextlib.contextmanager
def held(port: int, number: int, request: bytes) -> Iterator[list[socket.socket]]:
    """Open connections that each send `request` and then nothing. Connections that are refused are left out."""
    opened: list[socket.socket] = []
    try:
        for _ in range(number):
            with contextlib.suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", port), timeout=15)
                opened.append(connection)
                connection.sendall(request)
        yield opened
    finally:
        for connection in opened:
            connection.close()


def upgrade(caller: str) -> bytes:
    """Return the handshake of a WebSocket for predictions."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
    return head("GET", "/v1/ws/predict", headers, caller=caller)


def opened_websocket(port: int, caller: str) -> tuple[socket.socket, str]:
    """Open a WebSocket and return its connection and the status of the handshake."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=15)
    connection.sendall(upgrade(caller))
    try:
        response = connection.recv(RECEIVE)
    except OSError:
        response = b""
    return connection, outcome(response)


def text_frame(text: bytes) -> bytes:
    """Return a masked text frame of a WebSocket."""
    size = len(text)
    length = (
        bytes([0x80 | size])
        if size < 126
        else b"\xfe" + size.to_bytes(2)
        if size < 1 << 16
        else b"\xff" + size.to_bytes(8)
    )
    # The mask of zeros leaves the text as it is.
    return b"\x81" + length + bytes(4) + text

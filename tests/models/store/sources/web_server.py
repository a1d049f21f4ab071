"""A web server for tests of sources: files in memory, ranges, and the faults of real servers."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


@dataclass(slots=True)
class Request:
    """One request that the server has received."""

    method: str
    path: str
    headers: Message

    @property
    def start(self) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(match[1]) if match else 0


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next `times` requests for a path."""

    times: int = 1
    status: int = 0
    location: str = ""
    end_after: int = -1
    wait_s: float = 0.0
    stalls: bool = False
    drips: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


class WebServer:
    """Files by path, faults by path, and the requests so far. `url` is its address."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, Fault] = {}
        self.requests: list[Request] = []
        self.answers: dict[str, Callable[[Request], tuple[int, bytes]]] = {}
        self.has_ranges = True
        self.has_etags = True
        self.url = ""

    def add_folder(self, folder: Path, at: str) -> str:
        """Serve the files of `folder` below the path `at`, all of them at once, and return the address."""
        paths = (path for path in folder.rglob("*") if path.is_file())
        self.files |= {f"{at}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in paths}
        return f"{self.url}{at}"

    def paths(self, *, method: str = "GET") -> list[str]:
        return [request.path for request in self.requests if request.method == method]

    def of(self, path: str) -> list[Request]:
        return [request for request in self.requests if unquote(request.path.partition("?")[0]) == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._respond(is_head=False)

    def do_HEAD(self) -> None:
        self._respond(is_head=True)

    def log_message(self, *args: object) -> None:
        pass

    def _respond(self, *, is_head: bool) -> None:
        site = self.server.site
        request = Request(self.command, self.path, self.headers)
        site.requests.append(request)
        path = unquote(self.path.partition("?")[0])
        fault = site.faults.get(path, Fault(times=0))
        if fault.times:
            fault.times -= 1
        else:
            fault = Fault()
        if fault.status or fault.location:
            self._send(fault.status or 302, b"", {"Location": fault.location} if fault.location else {})
        elif path in site.answers:
            self._send(*site.answers[path](request), {"Content-Type": "application/json"})
        elif path not in site.files:
            self._send(404, b"no such file", {})
        else:
            self._send_file(request, site.files[path], fault, is_head=is_head)

    def _send_file(self, request: Request, content: bytes, fault: Fault, *, is_head: bool) -> None:
        headers = {"ETag": f'"{hash(content)}"'} if self.server.site.has_etags else {}
        start = request.start if self.server.site.has_ranges else 0
        if start >= len(content) and start:
            self._send(416, b"", {})
            return
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        for name, value in {**headers, **fault.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if is_head:
            return
        end = len(body) if fault.end_after < 0 else fault.end_after
        time.sleep(fault.wait_s)
        for position in range(0, 400, 10) if fault.drips else ():
            self.wfile.write(body[position : position + 10])
            self.wfile.flush()
            time.sleep(0.03)
        self.wfile.write(body[400 * fault.drips : end])
        self.wfile.flush()
        if fault.stalls:
            self.rfile.read(1)  # until the client leaves
        if end < len(body):
            self.close_connection = True

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, site: WebServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site = site

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that close their connection."""


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """Run a server on a free port of this machine, with TLS if a context is given."""
    site = WebServer()
    with _Server(site) as server:
        site.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()

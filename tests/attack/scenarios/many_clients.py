"""Slow, idle and many clients of one caller. The limits of one caller must not reach the others."""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import httpx

from tests.attack.bystander import TIMEOUT_S
from tests.attack.connections import head, held, opened_websocket, outcome
from tests.attack.scenario import Attack, scenario
from tests.attack.target import KEYS, SECOND_SERVER
from tests.live.server import ROOT

UPLOADS = 16
FETCHED = 32
CONNECTIONS, SHORT_CONNECTIONS = 2000, 200
WEBSOCKETS = 60


@scenario("trickling-uploads", short=True, faults=(5,))
def trickling_uploads(attack: Attack) -> None:
    """Upload many jobs of one key, a byte at a time. The bystander's jobs must be accepted."""
    headers = {"Content-Type": "text/csv", "Content-Length": "1000000"}
    start = head("POST", "/v1/tabular/jobs", headers, caller="attacker")
    with held(attack.target.port, UPLOADS, start) as uploads:
        until = time.monotonic() + (6 if attack.is_short else 20)
        while time.monotonic() < until:
            for upload in uploads:
                with contextlib.suppress(OSError):
                    upload.sendall(b"a")
            time.sleep(0.25)
        for upload in uploads:
            attack.count(_received(upload))
    jobs = {what: number for what, number in attack.bystander.seen.items() if what.startswith("job ")}
    attack.fact(f"jobs of others during {UPLOADS} trickling uploads of one key: {jobs}")


@scenario("idle-websockets", short=True, faults=(5,))
def idle_websockets(attack: Attack) -> None:
    """Open more WebSockets than the service admits. Another caller must still get one."""
    opened: list[socket.socket] = []
    try:
        for _ in range(WEBSOCKETS):
            connection, status = opened_websocket(attack.target.port, "attacker")
            opened.append(connection)
            attack.count(status)
        connection, status = opened_websocket(attack.target.port, "bystander")
        opened.append(connection)
        attack.fact(f"WebSocket of another caller after {WEBSOCKETS} of one key: {status}")
        attack.require(status == "101", f"another caller's WebSocket got {status}")
    finally:
        for connection in opened:
            connection.close()


@scenario("slow-fetches", env=SECOND_SERVER, faults=(5,))
def slow_fetches(attack: Attack) -> None:
    """Have images fetched from a server that never answers. Another caller's fetch must succeed."""
    with _serving_images() as (slow, fast):
        clients = [threading.Thread(target=_classify, args=(attack, slow, "attacker")) for _ in range(FETCHED)]
        for client in clients:
            client.start()
        time.sleep(1)
        started_s = time.monotonic()
        status = _classify(attack, fast, "bystander")
        took_s = time.monotonic() - started_s
        for client in clients:
            client.join()
    attack.fact(
        f"image fetched for another caller during {FETCHED} slow fetches of one key: {status} in {took_s:.1f} s"
    )
    attack.require(status == "200", f"another caller's image URL got {status}")


def _classify(attack: Attack, url: str, caller: str) -> str:
    response = attack.target.send("POST", "/v1/images/classify", json={"url": url}, caller=caller)
    attack.count(f"{caller} {response.status_code}")
    return str(response.status_code)


@contextlib.contextmanager
def _serving_images() -> Iterator[tuple[str, str]]:
    """Serve an image on one port, and nothing on another. Yield both URLs, the slow one first."""
    image = (ROOT / "docs" / "images" / "chelsea.jpg").read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(image)))
            self.end_headers()
            self.wfile.write(image)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with (
        socket.create_server(("127.0.0.1", 0), backlog=100) as slow,
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as fast,
    ):
        thread = threading.Thread(target=fast.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{slow.getsockname()[1]}/a.jpg", f"http://127.0.0.1:{fast.server_address[1]}/a.jpg"
        finally:
            fast.shutdown()
            thread.join()


@scenario("half-open", short=True)
def half_open(attack: Attack) -> None:
    """Hold connections with half a request head. The bystander must not notice."""
    number = SHORT_CONNECTIONS if attack.is_short else CONNECTIONS
    with held(attack.target.port, number, b"GET /livez HTTP/1.1\r\nHost: a\r\n") as connections:
        attack.fact(f"connections with half a head: {len(connections)} of {number}")
        time.sleep(2 if attack.is_short else 8)
        for connection in connections[:50]:
            attack.count(_received(connection))


@scenario("pages", short=True, faults=(9,))
def pages(attack: Attack) -> None:
    """Fetch pages and metrics without a key while another caller predicts. Its rate may not collapse."""
    seconds = 2.0 if attack.is_short else 5.0
    alone = _predictions(attack, seconds)
    is_over = threading.Event()
    clients = [
        threading.Thread(target=_fetch, args=(attack, path, is_over))
        for path in ("/docs.json", "/docs.json", "/ui/swagger-ui-bundle.js", "/metrics")
    ]
    for client in clients:
        client.start()
    try:
        during = _predictions(attack, seconds)
    finally:
        is_over.set()
        for client in clients:
            client.join()
    attack.fact(f"predictions of another caller: {alone:.0f}/s alone, {during:.0f}/s while four clients fetch pages")
    attack.require(
        during * attack.slack > alone / 4, f"{during:.0f} predictions/s while pages are fetched, {alone:.0f}/s without"
    )


def _predictions(attack: Attack, seconds: float) -> float:
    """Return the predictions per second of one client."""
    done, until = 0, time.monotonic() + seconds
    headers = {"X-API-Key": KEYS["bystander"]}
    with httpx.Client(base_url=attack.target.server.url, headers=headers, timeout=TIMEOUT_S) as client:
        while time.monotonic() < until:
            response = client.post("/v1/tabular/predict", json={"instances": [attack.bystander.row]})
            attack.require(response.status_code == 200, f"a prediction got {response.status_code}")
            done += 1
    return done / seconds


def _fetch(attack: Attack, path: str, is_over: threading.Event) -> None:
    with httpx.Client(
        base_url=attack.target.server.url, headers={"Accept-Encoding": "gzip"}, timeout=TIMEOUT_S
    ) as client:
        while not is_over.is_set():
            try:
                attack.count(f"{path} {client.get(path).status_code}")
            except httpx.TransportError as error:
                attack.count(f"{path} {type(error).__name__}")


def _received(connection: socket.socket) -> str:
    """Return the status that a connection has received; `waiting` without one."""
    connection.setblocking(False)
    try:
        return outcome(connection.recv(1 << 16))
    except BlockingIOError:
        return "waiting"
    except OSError:
        return "reset"

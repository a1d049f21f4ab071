"""Slow, idle and many clients of one caller. The limits of one caller must not reach the others."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import httpx

from tests.attack.bystander import TIMEOUT_S
from tests.attack.connections import head, held, opened_websocket, outcome
from tests.attack.scenario import Attack, scenario
from tests.attack.target import KEYS

UPLOADS = 16
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
    attack.require(during > alone / 4, f"{during:.0f} predictions/s while pages are fetched, {alone:.0f}/s without")


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

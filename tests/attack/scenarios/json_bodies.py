"""Hostile JSON, in every operation that reads it."""

from __future__ import annotations

import time

import httpx

from tests.attack.bystander import ENDED, job_status
from tests.attack.connections import RECEIVE, opened_websocket, text_frame
from tests.attack.scenario import HELD_S, Attack, scenario, size_text
from tests.hostile_json import CORPUS, JSON, PATHS, message

# Native methods of BentoML's clients; they take the bodies of the public operations.
NATIVE = {"tabular": "/predict_tabular", "recommend": "/recommend", "bulk": "/recommend_bulk"}
SHORT = (
    "tabular/unknown-fields-of-a-row", "tabular/value-deep-lists", "tabular/thousand-empty-rows", "infer/numbers",
    "jobs/unknown-fields", "feedback/events",
)  # fmt: skip
JOB_S = 60.0
# A longer answer is a measurement of the report.
SLOW_S = 1.0


@scenario("json", short=True, faults=(3,))
def json_bodies(attack: Attack) -> None:
    """Send every body of the corpus to its operation, one at a time, and wait for the jobs that it makes."""
    attack.held_s = HELD_S
    for name, (content_type, make) in attack.entries(CORPUS):
        if not attack.is_short or name in SHORT:
            _send(attack, name, PATHS[name.partition("/")[0]], content_type, make())


@scenario("json-native", faults=(3,))
def json_native(attack: Attack) -> None:
    """Send the bodies to the native methods of BentoML's clients."""
    attack.held_s = HELD_S
    for name, (content_type, make) in attack.entries(CORPUS):
        if path := NATIVE.get(name.partition("/")[0]):
            _send(attack, name, path, content_type, make())


def _send(attack: Attack, name: str, path: str, content_type: str, content: bytes) -> None:
    started_s = time.monotonic()
    headers = {"Content-Type": content_type}
    try:
        response = attack.target.send("POST", path, content=content, headers=headers)
    except httpx.TransportError as error:
        attack.count(type(error).__name__)
        attack.fact(f"{name} ({size_text(content)}) at {path}: {type(error).__name__}")
        return
    seen = str(response.status_code)
    if response.status_code == 202 and "Location" in response.headers:
        seen += f" {_ended(attack, response.headers['Location'])}"
    attack.count(seen)
    took_s = time.monotonic() - started_s
    if took_s > SLOW_S:
        attack.fact(f"{name} ({size_text(content)}) at {path}: {seen} after {took_s:.1f} s")


def _ended(attack: Attack, path: str) -> str:
    """Add a job to the ledger, wait for its end, and return its status."""
    attack.bystander.ledger.jobs[path] = "attacker"
    until = time.monotonic() + JOB_S
    while (status := job_status(attack.target, path, "attacker")) not in ENDED and time.monotonic() < until:
        time.sleep(0.1)
    return status


@scenario("json-messages", faults=(3,))
def json_messages(attack: Attack) -> None:
    """Send every JSON body of the corpus as the input of a WebSocket's message."""
    attack.held_s = HELD_S
    for _, (content_type, make) in attack.entries(CORPUS):
        if content_type != JSON:
            continue
        connection, status = opened_websocket(attack.target.port, "attacker")
        attack.require(status == "101", f"the handshake got {status}")
        with connection:
            connection.settimeout(60)
            try:
                connection.sendall(text_frame(message(make())))
                answer = connection.recv(RECEIVE)
            except OSError as error:
                attack.count(type(error).__name__)
                continue
        attack.count("close frame" if answer[:1] == b"\x88" else "message" if answer else "closed")

"""Killed and hung processes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import httpx
import psutil  # type: ignore[import-untyped]

from tests.attack.probe import CHILD, service_name
from tests.attack.scenario import Attack, scenario
from tests.attack.scenarios.storage import table, unknown_bytes
from tests.attack.target import Target

# A new process exists after this time, and answers after that one: it loads its model with other load on the machine.
REPLACED_S, ANSWERED_S = 2.0, 20.0
HUNG_S = 8.0
# Time after which the child and the files of a killed gateway have disappeared.
LEFT_S = 5.0
RUNNERS = {
    "TabularRunner": "/v1/tabular/predict",
    "RecommenderRunner": "/v1/recommendations",
    "ImageRunner": None,
}


@scenario("killed-runners", short=True, faults=(6,))
def killed_runners(attack: Attack) -> None:
    """Kill each runner with SIGKILL. A new process must exist within REPLACED_S, and the calls to others succeed."""
    attack.may_interrupt = True
    for name, path in RUNNERS.items():
        if attack.is_short and name != "TabularRunner":
            continue
        _kill(attack, name, path)
    _only_refusals(attack, {"table", "recommendation"})


@scenario("killed-gateway", short=True)
def killed_gateway(attack: Attack) -> None:
    """Kill the gateway with SIGKILL. Requests may be lost until the new process listens; nothing acknowledged may."""
    attack.may_interrupt = True
    _kill(attack, "Gateway", "/v1/tabular/predict")


def _kill(attack: Attack, name: str, path: str | None) -> None:
    target, killed = attack.target, attack.target.worker_pid(name)
    target.server.worker(name).kill()
    started_s = time.monotonic()
    replaced_s = _seconds_until(lambda: _new_worker(target, name, killed), started_s)
    answered_s = _seconds_until(lambda: path is None or _status(attack, path) == 200, started_s)
    ready_s = _seconds_until(target.server.is_ready, started_s)
    attack.fact(
        f"{name} killed: new process after {replaced_s:.1f} s, answers after {answered_s:.1f} s, "
        f"ready after {ready_s:.1f} s"
    )
    attack.within(replaced_s, REPLACED_S, f"the replacement of {name}")
    attack.within(answered_s, ANSWERED_S, f"the first answer of the new {name}")


def _new_worker(target: Target, name: str, killed: int) -> bool:
    try:
        return target.worker_pid(name) != killed
    except AssertionError:
        return False


def _status(attack: Attack, path: str) -> int:
    body = {"instances": [attack.bystander.row]} if "tabular" in path else {"user_id": "1", "n": 1}
    try:
        status = attack.target.send("POST", path, json=body, timeout_s=40).status_code
    except httpx.TransportError as error:
        attack.count(type(error).__name__)
        return 0
    attack.count(status)
    return status


def _seconds_until(condition: Callable[[], bool], started_s: float, *, limit_s: float = 60.0) -> float:
    """Return the time from `started_s` until `condition` holds, or until `limit_s`."""
    while not condition() and time.monotonic() - started_s < limit_s:
        time.sleep(0.05)
    return time.monotonic() - started_s


@scenario("killed-upload", faults=(10,))
def killed_upload(attack: Attack) -> None:
    """Kill the gateway while it takes a job. Its child must end, and the files of the upload must disappear."""
    attack.may_interrupt = True
    # Its jobs are decoded by children too.
    attack.bystander.stop()
    target, content = attack.target, table(attack, 300_000)
    before = set(_children(target))
    upload = threading.Thread(target=_send_and_lose, args=(target, content))
    upload.start()
    _seconds_until(lambda: bool(set(_children(target)) - before), time.monotonic(), limit_s=20)
    children = set(_children(target)) - before
    target.server.worker("Gateway").kill()
    upload.join()
    _seconds_until(target.server.is_ready, time.monotonic())
    time.sleep(LEFT_S)
    alive = [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    left = unknown_bytes(target)
    attack.count(f"{len(children)} children")
    attack.fact(
        f"gateway killed while taking a job: {len(alive)} of {len(children)} children run, {left} bytes are left"
    )
    attack.require(bool(children), "no child decoded the upload")
    attack.require(not alive, f"{len(alive)} children of the killed gateway still run")
    attack.require(left == 0, f"{left} bytes of the upload are left")


def _send_and_lose(target: Target, content: bytes) -> None:
    with contextlib.suppress(httpx.TransportError):
        target.send("POST", "/v1/tabular/jobs?id_column=row", content=content, headers={"Content-Type": "text/csv"})


def _children(target: Target) -> list[psutil.Process]:
    """Return the processes that belong to no service. Their environment does not name the test."""
    processes = psutil.Process(target.server.process.pid).children(recursive=True)
    return [process for process in processes if service_name(process) == CHILD]


@scenario("hung-runner", short=True, faults=(6,))
def hung_runner(attack: Attack) -> None:
    """Stop a runner with SIGSTOP. Its calls must end at their time limit, and the calls to other models succeed."""
    attack.may_interrupt = True
    hung = attack.target.server.worker("RecommenderRunner")
    hung.suspend()
    try:
        until, slowest_s = time.monotonic() + (4 if attack.is_short else HUNG_S), 0.0
        while time.monotonic() < until:
            started_s = time.monotonic()
            headers = {"X-Request-Timeout": "1"}
            response = attack.target.send("POST", "/v1/recommendations", json={"user_id": "1", "n": 1}, headers=headers)
            slowest_s = max(slowest_s, time.monotonic() - started_s)
            attack.count(f"hung {response.status_code}")
            other = _status(attack, "/v1/tabular/predict")
            attack.require(other == 200, f"a call to another model got {other}")
    finally:
        with contextlib.suppress(Exception):
            hung.resume()
    attack.fact(f"calls to a stopped runner with a time limit of 1 s: the slowest took {slowest_s:.1f} s")
    attack.within(slowest_s, 3.0, "a call with a time limit of 1 s")


def _only_refusals(attack: Attack, kinds: set[str]) -> None:
    """Require that only calls of `kinds` were refused, and with 503 or 504."""
    for what, number in attack.bystander.seen.items():
        kind, _, status = what.rpartition(" ")
        is_fine = status in ("200", "202") or (kind in kinds and status in ("503", "504"))
        attack.require(is_fine, f"the bystander got {number} x {what}")

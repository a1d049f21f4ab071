"""Other users and programs of the same host: ports, files, runners, other callers' keys."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]

from tests.attack.scenario import Attack, scenario
from tests.live.server import free_port


@scenario("open-ports", short=True, faults=(1,))
def open_ports(attack: Attack) -> None:
    """List what the processes listen on. Only the port of the service may be a TCP port."""
    ports: set[int] = set()
    sockets: set[str] = set()
    for process in attack.target.server.processes():
        with contextlib.suppress(psutil.Error):
            for each in process.net_connections(kind="all"):
                if each.status == psutil.CONN_LISTEN:
                    ports.add(each.laddr.port)
                elif each.family == socket.AF_UNIX and isinstance(each.laddr, str) and each.laddr.startswith("/"):
                    sockets.add(each.laddr)
    extra = ports - {attack.target.port}
    reachable = sorted(path for path in sockets if _is_reachable(Path(path)))
    attack.fact(
        f"TCP ports besides the service's: {len(extra)}; unix sockets that another user reaches: {len(reachable)}"
    )
    attack.require(not extra, f"the service listens on further TCP ports: {sorted(extra)}")
    attack.require(not reachable, f"another user reaches {reachable}")


def _is_reachable(path: Path) -> bool:
    """Return whether the modes of a unix socket and of its folders let another user connect."""
    return bool(path.stat().st_mode & 0o002) and all(each.stat().st_mode & 0o001 for each in path.parents)


@scenario("file-modes", short=True, faults=(13,))
def file_modes(attack: Attack) -> None:
    """Look at the modes of everything that the service writes."""
    target, time_limit = attack.target, time.monotonic() + 10
    while not (target.jobs_file.exists() and target.feedback_file.exists()) and time.monotonic() < time_limit:
        time.sleep(0.1)
    open_paths = sorted(
        f"{path.relative_to(target.folder)} {path.stat().st_mode & 0o777:o}"
        for folder in (target.state, target.feedback_file.parent)
        for path in folder.rglob("*")
        if path.stat().st_mode & 0o077
    )
    attack.fact(f"state that other users may read: {', '.join(open_paths) or 'nothing'}")
    attack.require(not open_paths, f"other users may read {len(open_paths)} paths of the state")


@scenario("feedback-keys", short=True, faults=(7,))
def feedback_keys(attack: Attack) -> None:
    """Send feedback of two callers under one idempotency key. Both must be stored, and other content refused."""
    statuses = []
    for caller in ("attacker", "bystander"):
        user = f"key-of-{caller}-{attack.target.port}"
        event = {"user_id": user, "item_id": "50", "kind": "purchase", "idempotency_key": "order-1"}
        response = attack.target.send("POST", "/v1/feedback", json={"events": [event]}, caller=caller)
        statuses.append(response.status_code)
        attack.count(response.status_code)
        if response.status_code == 202:
            attack.bystander.ledger.events.add(user)
            attack.require(
                response.json()["accepted"] == 1, f"the event of the {caller} was dropped with {response.json()}"
            )
    event["item_id"] = "51"
    changed = attack.target.send("POST", "/v1/feedback", json={"events": [event]}, caller="bystander").status_code
    attack.count(changed)
    attack.fact(f"two callers with one idempotency key: {statuses}; other content under a used key: {changed}")
    attack.require(changed == 409, f"other content under a used key got {changed}, expected 409")
    missing = attack.bystander.ledger.missing_events(attack.target.feedback_file)
    attack.bystander.ledger.events -= {user for user in missing if user.startswith("key-of-")}


@scenario("runner-alone", faults=(11,))
def runner_alone(attack: Attack) -> None:
    """Start a runner by itself in production, without a shared secret. It must not start, or refuse calls."""
    from tests.live.server import serving

    env = {**attack.target.environment, "MAKUNOUCHI_STATE_FOLDER": str(attack.target.folder / "runner-state")}
    port, until = free_port(), time.monotonic() + 60
    with serving("service:TabularRunner", folder=attack.target.root, env=env, port=port, wait=False) as runner:
        seen = "does not start"
        while runner.process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                if runner.get("/livez").status_code == 200:
                    seen = f"status {runner.get('/runner/status').status_code} without a key"
                    break
            time.sleep(0.2)
        attack.count(seen)
    attack.fact(f"a runner by itself in production: {seen}")
    attack.require(
        seen in ("does not start", "status 401 without a key", "status 403 without a key"),
        f"a runner by itself: {seen}",
    )

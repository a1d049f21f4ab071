"""A well-behaved caller that works during the attacks, and the ledger of what the service acknowledged."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.attack.target import KEYS, Target

JOB_EVERY_S = 2.0
PAUSE_S = 0.05
TIMEOUT_S = 90.0
ENDED = ("succeeded", "failed", "cancelled", "expired")
JOB_ROWS = 20


class Ledger:
    """Jobs and events that the service acknowledged with 202."""

    def __init__(self) -> None:
        # The caller of each job, by path.
        self.jobs: dict[str, str] = {}
        self.must_succeed: set[str] = set()
        self.events: set[str] = set()

    def missing_events(self, file: Path) -> set[str]:
        """Return the acknowledged events, by user id, that the feedback database does not contain."""
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30) as database:
            stored = {str(row[0]) for row in database.execute("SELECT user_id FROM makunouchi_feedback")}
        database.close()
        return self.events - stored

    def open_jobs(self, target: Target, *, timeout_s: float) -> list[str]:
        """Wait for the jobs. Return a line for each one that is lost, has not ended, or should have succeeded."""
        until, faults = time.monotonic() + timeout_s, []
        for path, caller in list(self.jobs.items()):
            state = job_status(target, path, caller)
            while state not in ENDED and not state.startswith("lost") and time.monotonic() < until:
                time.sleep(0.2)
                state = job_status(target, path, caller)
            if state not in ENDED or (path in self.must_succeed and state != "succeeded"):
                faults.append(f"acknowledged job of the {caller}: {state}")
        return faults


def job_status(target: Target, path: str, caller: str) -> str:
    """Return the status of a job; `lost: ...` when the service does not know it."""
    try:
        response = target.send("GET", path, caller=caller, timeout_s=TIMEOUT_S)
    except httpx.TransportError as error:
        return type(error).__name__
    if response.status_code in (404, 410):
        return f"lost: {response.status_code}"
    return str(response.json()["status"]) if response.status_code == 200 else f"status {response.status_code}"


class Bystander:
    """A thread that sends predictions, feedback and small jobs, and counts the responses by call and status."""

    def __init__(self, target: Target, ledger: Ledger) -> None:
        self._target = target
        self.ledger = ledger
        self.seen: Counter[str] = Counter()
        self.predictions = 0
        self._is_stopped = threading.Event()
        self._row = example_row(target)
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def row(self) -> dict[str, Any]:
        """A valid row of the tabular model."""
        return self._row

    @property
    def csv(self) -> bytes:
        """A valid table of JOB_ROWS rows."""
        cells = ",".join("" if value is None else str(value) for value in self._row.values())
        return "\n".join([",".join(self._row), *[cells] * JOB_ROWS, ""]).encode()

    def start(self) -> Bystander:
        """Start to send."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop after the current request."""
        self._is_stopped.set()
        self._thread.join(2 * TIMEOUT_S)

    def refusals(self) -> Counter[str]:
        """Return the responses without a success, and the lost connections."""
        return Counter({what: n for what, n in self.seen.items() if what.rpartition(" ")[2] not in ("200", "202")})

    def _run(self) -> None:
        job_due_s = 0.0
        while not self._is_stopped.is_set():
            try:
                with httpx.Client(
                    base_url=self._target.server.url, headers={"X-API-Key": KEYS["bystander"]}, timeout=TIMEOUT_S
                ) as client:
                    while not self._is_stopped.wait(PAUSE_S):
                        self._predict(client)
                        self._recommend(client)
                        self._event(client)
                        if time.monotonic() >= job_due_s:
                            job_due_s = time.monotonic() + JOB_EVERY_S
                            self._job(client)
            except httpx.TransportError as error:
                self.seen[f"connection {type(error).__name__}"] += 1
                time.sleep(PAUSE_S)

    def _predict(self, client: httpx.Client) -> None:
        response = client.post("/v1/tabular/predict", json={"instances": [self._row]})
        self.seen[f"table {response.status_code}"] += 1
        self.predictions += response.status_code == 200

    def _recommend(self, client: httpx.Client) -> None:
        response = client.post("/v1/recommendations", json={"user_id": "1", "n": 3})
        self.seen[f"recommendation {response.status_code}"] += 1

    def _event(self, client: httpx.Client) -> None:
        user = f"bystander-{id(self)}-{next(self._numbers)}"
        event = {"user_id": user, "item_id": "50", "kind": "like", "idempotency_key": user}
        response = client.post("/v1/feedback", json={"events": [event]})
        self.seen[f"feedback {response.status_code}"] += 1
        if response.status_code == 202:
            self.ledger.events.add(user)

    def _job(self, client: httpx.Client) -> None:
        response = client.post("/v1/tabular/jobs", content=self.csv, headers={"Content-Type": "text/csv"})
        self.seen[f"job {response.status_code}"] += 1
        if response.status_code == 202:
            path = response.headers["Location"]
            self.ledger.jobs[path] = "bystander"
            self.ledger.must_succeed.add(path)


def example_row(target: Target) -> dict[str, Any]:
    """Return the example row of the OpenAPI document."""
    document = target.send("GET", "/docs.json").json()
    body = document["paths"]["/v1/tabular/predict"]["post"]["requestBody"]["content"]["application/json"]
    row: dict[str, Any] = next(iter(body["examples"].values()))["value"]["instances"][0]
    return row

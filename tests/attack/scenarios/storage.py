"""Full job folders, aborted exports, and databases that are removed, truncated or replaced."""

from __future__ import annotations

import socket
import sqlite3
import time
from pathlib import Path

import httpx

from tests.attack.bystander import ENDED, job_status
from tests.attack.connections import head
from tests.attack.scenario import Attack, scenario
from tests.attack.target import SECOND_SERVER, Target

# Time after which a damaged database has been noticed.
NOTICE_S = 4.0


def table(attack: Attack, rows: int, first: str = "r") -> bytes:
    """Return a CSV table with a column `row` of ids that begin with `first`."""
    cells = ",".join("" if value is None else str(value) for value in attack.bystander.row.values())
    header = ",".join(["row", *attack.bystander.row])
    return "\n".join([header, *(f"{first}{number},{cells}" for number in range(rows)), ""]).encode()


def submit(
    attack: Attack, content: bytes, *, caller: str = "attacker", query: str = "?id_column=row"
) -> httpx.Response:
    """Submit a table as a job, and add it to the ledger if it was accepted."""
    path, headers = f"/v1/tabular/jobs{query}", {"Content-Type": "text/csv"}
    response = attack.target.send("POST", path, content=content, headers=headers, caller=caller)
    if response.status_code == 202:
        attack.bystander.ledger.jobs[response.headers["Location"]] = caller
    return response


def finish(attack: Attack, path: str, *, caller: str = "attacker", timeout_s: float = 60.0) -> str:
    """Wait for a job and return its status."""
    until = time.monotonic() + timeout_s
    while (status := job_status(attack.target, path, caller)) not in ENDED and time.monotonic() < until:
        time.sleep(0.1)
    return status


@scenario("small-disk", env=SECOND_SERVER, faults=(5,))
def small_disk(attack: Attack) -> None:
    """Fill the space for jobs with one key. Jobs of others must be accepted, and accepted jobs succeed."""
    content, paths = table(attack, 6000), []
    for _ in range(30):
        response = submit(attack, content)
        attack.count(response.status_code)
        if response.status_code == 202:
            paths.append(response.headers["Location"])
    time.sleep(3)
    ended = [finish(attack, path) for path in paths]
    failed = sum(status != "succeeded" for status in ended)
    jobs = {what: number for what, number in attack.bystander.seen.items() if what.startswith("job ")}
    attack.fact(
        f"one key fills the disk for jobs: {len(paths)} of its jobs accepted, {failed} of them failed; others: {jobs}"
    )
    attack.require(failed == 0, f"{failed} accepted jobs did not succeed")
    for path in paths:
        attack.target.send("DELETE", path)
        del attack.bystander.ledger.jobs[path]


@scenario("aborted-exports", faults=(10, 15))
def aborted_exports(attack: Attack) -> None:
    """Abort downloads of results as CSV and Parquet, and read ids that a spreadsheet would run."""
    response = submit(attack, table(attack, 3000, "=1+"))
    attack.count(response.status_code)
    path = response.headers["Location"]
    status = finish(attack, path)
    attack.require(status == "succeeded", f"the job is {status}")
    before = folder_bytes(attack.target.state)
    for format_ in ("csv", "parquet") * 10:
        request = head("GET", f"{path}/result?format={format_}", {}, caller="attacker")
        with socket.create_connection(("127.0.0.1", attack.target.port), timeout=15) as connection:
            connection.sendall(request)
            time.sleep(0.15)
    time.sleep(5)
    left = folder_bytes(attack.target.state) - before
    attack.fact(f"bytes that 20 aborted exports leave on the disk: {left}")
    attack.require(left < 1 << 20, f"aborted exports left {left} bytes")
    result = attack.target.send("GET", f"{path}/result?format=csv").text
    formulas = sum(
        cell.startswith(("=", "+", "@", '"=')) for line in result.splitlines()[1:] for cell in line.split(",")[:2]
    )
    attack.fact(f"cells of a CSV result that begin with a formula: {formulas} of 3000")
    attack.require(formulas == 0, f"{formulas} cells of a CSV result begin with a formula")


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below a folder except the database, whose log grows and shrinks."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and "jobs.db" not in file.name)


def unknown_bytes(target: Target) -> int:
    """Return the size of the files in the folder of jobs that belong to no job in the database."""
    with sqlite3.connect(f"file:{target.jobs_file}?mode=ro", uri=True, timeout=15) as database:
        known = {str(row[0]) for row in database.execute("SELECT id FROM jobs")}
    database.close()
    folder = target.jobs_file.parent
    files = (file for file in folder.rglob("*") if file.is_file() and "jobs.db" not in file.name)
    return sum(file.stat().st_size for file in files if file.relative_to(folder).parts[0] not in known)


def _damage(file: Path, how: str) -> None:
    """Remove, truncate or replace a database and its log."""
    for each in file.parent.glob(f"{file.name}*"):
        if how == "removed" or each != file:
            each.unlink()
        elif how == "truncated":
            each.write_bytes(b"")
        else:
            each.rename(each.with_suffix(".old"))
            each.write_bytes(b"not a database" * 1000)


def _jobs_database(attack: Attack, how: str) -> None:
    attack.may_interrupt = True
    # Jobs before the damage may be lost with the database. They are not part of the proof.
    attack.bystander.stop()
    _damage(attack.target.jobs_file, how)
    attack.bystander.ledger.jobs.clear()
    attack.bystander.ledger.must_succeed.clear()
    time.sleep(NOTICE_S)
    health = attack.target.send("GET", "/health", caller=None).json()["status"]
    statuses = []
    for _ in range(5):
        response = submit(attack, attack.bystander.csv, query="")
        attack.count(response.status_code)
        statuses.append(response.status_code)
        if response.status_code == 202:
            path = response.headers["Location"]
            status = finish(attack, path, timeout_s=20)
            attack.require(status == "succeeded", f"a job accepted after jobs.db was {how} is {status}")
            stored = _stored(attack.target.jobs_file, path.rpartition("/")[2])
            attack.require(stored, f"a job accepted after jobs.db was {how} is not in the file")
        time.sleep(0.5)
    attack.fact(f"jobs.db {how}: health {health}, new jobs {statuses}")
    attack.require(202 in statuses or health != "ok", f"jobs.db was {how}: jobs get {statuses}, but health is ok")


def _stored(file: Path, job_id: str) -> bool:
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=15) as database:
            return bool(database.execute("SELECT COUNT(*) FROM jobs WHERE id = ?", (job_id,)).fetchone()[0])
    except sqlite3.Error:
        return False


@scenario("jobs-database-removed", env=SECOND_SERVER, faults=(16,))
def jobs_database_removed(attack: Attack) -> None:
    """Remove jobs.db. No job may be accepted into the deleted file."""
    _jobs_database(attack, "removed")


@scenario("jobs-database-truncated", env=SECOND_SERVER, faults=(16,))
def jobs_database_truncated(attack: Attack) -> None:
    """Truncate jobs.db. The service must recover, or report it."""
    _jobs_database(attack, "truncated")


@scenario("jobs-database-replaced", env=SECOND_SERVER, faults=(16,))
def jobs_database_replaced(attack: Attack) -> None:
    """Replace jobs.db by a file that is no database. The service must recover, or report it."""
    _jobs_database(attack, "replaced")


@scenario("feedback-database-removed", env=SECOND_SERVER, faults=(16,))
def feedback_database_removed(attack: Attack) -> None:
    """Remove feedback.db. No event may be accepted into the deleted file."""
    attack.may_interrupt = True
    attack.bystander.stop()
    _damage(attack.target.feedback_file, "removed")
    attack.bystander.ledger.events.clear()
    time.sleep(NOTICE_S)
    for number in range(10):
        user = f"after-removal-{number}"
        body = {"events": [{"user_id": user, "item_id": "50", "kind": "like"}]}
        response = attack.target.send("POST", "/v1/feedback", json=body)
        attack.count(response.status_code)
        if response.status_code == 202:
            attack.bystander.ledger.events.add(user)
    try:
        missing = attack.bystander.ledger.missing_events(attack.target.feedback_file)
    except sqlite3.Error:
        missing = set(attack.bystander.ledger.events)
    accepted = len(attack.bystander.ledger.events)
    health = attack.target.send("GET", "/health", caller=None).json()["status"]
    attack.fact(f"feedback.db removed: {accepted} of 10 events accepted, {len(missing)} of them lost, health {health}")
    attack.require(not missing, f"{len(missing)} events were accepted into a removed feedback.db")
    # Reported above. The proof after the restart concerns the others.
    attack.bystander.ledger.events -= missing

"""Tests of jobs on the real service: a job resumes after kill -9 without lost or repeated items."""

from __future__ import annotations

import io
import os
import re
import signal
import zipfile
from pathlib import Path
from typing import Any

import orjson
import psutil  # type: ignore[import-untyped]
import pytest

from tests.fixtures_default import own_home
from tests.live.server import Server, serving, wait_for
from tests.live.test_runner_loss import tabular_example

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent.parent
ROWS = 60_000
COUNTED = 'makunouchi_jobs_ended_total{kind="tabular",status="succeeded"} 1.0'


def table(server: Server) -> bytes:
    """Return a CSV table with numbered rows; every thousandth row is invalid."""
    row: dict[str, Any] = dict(tabular_example(server))  # type: ignore[call-overload]  # an object of the document
    header = ",".join(["row", *row])
    cells = ",".join("" if value is None else str(value) for value in row.values())
    invalid = "," * (len(row) - 1)
    lines = (f"{number},{invalid if number % 1000 == 999 else cells}" for number in range(ROWS))
    return (header + "\n" + "\n".join(lines) + "\n").encode()


def job_at(server: Server, path: str) -> dict[str, Any]:
    answer = server.get(path)
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


def kill_all(server: Server) -> None:
    """Kill all processes with SIGKILL."""
    for process in [*psutil.Process(server.process.pid).children(recursive=True), psutil.Process(server.process.pid)]:
        os.kill(process.pid, signal.SIGKILL)
    server.process.wait()


def send_table(server: Server) -> str:
    """Submit a job and return its path."""
    query, headers = {"id_column": "row"}, {"Content-Type": "text/csv"}
    sent = server.post("/v1/tabular/jobs", params=query, content=table(server), headers=headers)
    assert sent.status_code == 202, sent.text
    return str(sent.headers["Location"])


def test_job_resumes_after_kill_9(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = own_home(default_home, tmp_path_factory)
    env = {"BENTOML_HOME": str(home), "MAKUNOUCHI_JOB_LEASE_S": "2"}
    for _ in range(5):
        with serving("service:Gateway", env=env) as server:
            path = send_table(server)
            wait_for(lambda path=path: job_at(server, path)["progress"]["done"] > 0, "some items are done")  # type: ignore[misc]
            kill_all(server)

        with serving("service:Gateway", env=env) as server:
            wait_for(lambda path=path: job_at(server, path)["status"] == "succeeded", "the job is done")  # type: ignore[misc]
            begun = re.search(rf"job {path.rpartition('/')[2]}: (continues at \d+|tabular)", server.log)
            if begun is None:
                # It was over before the kill: this process was not given the processor for so long.
                continue
            assert begun[1].startswith("continues at")
            is_whole(server, path)
            wait_for(lambda: COUNTED in server.get("/metrics").text, COUNTED)
            return
    raise AssertionError("every job ended before the kill")


def is_whole(server: Server, path: str) -> None:
    """Assert that each row of the table has exactly one result."""
    assert job_at(server, path)["progress"] == {"done": ROWS, "total": ROWS, "failed": ROWS // 1000}
    lines = [orjson.loads(line) for line in server.get(f"{path}/result").content.splitlines()]
    assert [line["index"] for line in lines] == list(range(ROWS))
    assert [line["id"] for line in lines] == [str(number) for number in range(ROWS)]
    assert [line["index"] for line in lines if line["status"] == "error"] == list(range(999, ROWS, 1000))


def test_processes_long_batches_as_jobs(service: Server) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("coffee.jpg", "chelsea.jpg"):
            file.write(ROOT / "docs" / "images" / name, name)
    row = dict(tabular_example(service))  # type: ignore[call-overload]  # an object of the document
    cells = ",".join("" if value is None else str(value) for value in row.values())
    sent = {
        "images": {"content": archive.getvalue(), "headers": {"Content-Type": "application/zip"}},
        "tabular": {"content": f"{','.join(row)}\n{cells}\n{cells}\n", "headers": {"Content-Type": "text/csv"}},
        "recommendations": {"json": {"user_ids": ["1", "nobody"], "n": 1}},
    }
    for kind, request in sent.items():
        answer = service.post(f"/v1/{kind}/jobs", **request)  # type: ignore[arg-type]  # of httpx.post
        assert answer.status_code == 202, answer.text
        path = answer.headers["Location"]
        wait_for(lambda path=path: job_at(service, path)["status"] == "succeeded", f"the {kind} job")  # type: ignore[misc]
        result = service.get(f"{path}/result")
        lines = [orjson.loads(line) for line in result.content.splitlines()]
        assert [line["status"] for line in lines] == ["ok", "ok"], lines
        if kind == "images":
            assert lines[0]["predictions"][0]["label"] == "espresso"
        assert service.request("DELETE", path).status_code == 204


def test_requests_succeed_while_a_job_runs(service: Server) -> None:
    # Repeated, because a job can end before the first status request on a machine under load.
    assert any(responses_during_job(service) for _ in range(5))


def responses_during_job(service: Server) -> int:
    """Return the number of responses while a job runs."""
    path, row = send_table(service), tabular_example(service)
    answered = 0
    while job_at(service, path)["status"] in ("queued", "running") and answered < 20:
        answer = service.post("/v1/tabular/predict", json={"instances": [row]})
        assert answer.status_code == 200
        answered += 1
    assert service.request("DELETE", path).status_code == 204
    return answered

"""Jobs on the real service: killed in the middle and started again, no item is lost and none answered twice."""

from __future__ import annotations

import io
import os
import signal
import zipfile
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil  # type: ignore[import-untyped]
import pytest

from tests.fixtures_default import own_home
from tests.live.server import Server, serving, wait_for
from tests.live.test_runner_loss import tabular_example

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent.parent
ROWS = 60_000


def table(server: Server) -> bytes:
    """Rows of the served table, each named by its number; every thousandth is broken."""
    row: dict[str, Any] = dict(tabular_example(server.url))  # type: ignore[call-overload]  # an object of the document
    header = ",".join(["row", *row])
    cells = ",".join("" if value is None else str(value) for value in row.values())
    broken = "," * (len(row) - 1)
    lines = (f"{number},{broken if number % 1000 == 999 else cells}" for number in range(ROWS))
    return (header + "\n" + "\n".join(lines) + "\n").encode()


def job_at(server: Server, path: str) -> dict[str, Any]:
    answer = httpx.get(f"{server.url}{path}", timeout=60)
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


def kill_all(server: Server) -> None:
    """kill -9 of everything at once."""
    for process in [*psutil.Process(server.process.pid).children(recursive=True), psutil.Process(server.process.pid)]:
        os.kill(process.pid, signal.SIGKILL)
    server.process.wait(10)


def test_a_job_goes_on_after_kill_9_where_it_was(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = own_home(default_home, tmp_path_factory)
    env = {"BENTOML_HOME": str(home), "MAKUNOUCHI_JOB_LEASE_S": "2"}
    with serving("service:Gateway", env=env) as server:
        sent = httpx.post(
            f"{server.url}/v1/tabular/jobs",
            params={"id_column": "row"},
            content=table(server),
            headers={"Content-Type": "text/csv"},
            timeout=60,
        )
        assert sent.status_code == 202, sent.text
        path = sent.headers["Location"]
        wait_for(lambda: 0 < job_at(server, path)["progress"]["done"] < ROWS, "some items are answered")
        kill_all(server)

    with serving("service:Gateway", env=env) as server:
        wait_for(lambda: job_at(server, path)["status"] == "succeeded", "the job is done", timeout_s=60)
        assert "goes on at" in server.log
        job = job_at(server, path)
        assert job["progress"] == {"done": ROWS, "total": ROWS, "failed": ROWS // 1000}
        lines = [
            orjson.loads(line) for line in httpx.get(f"{server.url}{path}/result", timeout=60).content.splitlines()
        ]
        assert [line["index"] for line in lines] == list(range(ROWS))
        assert [line["id"] for line in lines] == [str(number) for number in range(ROWS)]
        assert [line["index"] for line in lines if line["status"] == "error"] == list(range(999, ROWS, 1000))
        metrics = httpx.get(f"{server.url}/metrics").text
        assert 'makunouchi_jobs_ended_total{kind="tabular",status="succeeded"} 1.0' in metrics


def test_works_on_batches_too_long_for_a_request(service: Server) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for name in ("coffee.jpg", "chelsea.jpg"):
            made.write(ROOT / "docs" / "images" / name, name)
    row = dict(tabular_example(service.url))  # type: ignore[call-overload]  # an object of the document
    cells = ",".join("" if value is None else str(value) for value in row.values())
    sent = {
        "images": {"content": archive.getvalue(), "headers": {"Content-Type": "application/zip"}},
        "tabular": {"content": f"{','.join(row)}\n{cells}\n{cells}\n", "headers": {"Content-Type": "text/csv"}},
        "recommendations": {"json": {"user_ids": ["1", "nobody"], "n": 1}},
    }
    for kind, request in sent.items():
        answer = httpx.post(f"{service.url}/v1/{kind}/jobs", timeout=60, **request)  # type: ignore[arg-type]  # of httpx.post
        assert answer.status_code == 202, answer.text
        path = answer.headers["Location"]
        wait_for(lambda path=path: job_at(service, path)["status"] == "succeeded", f"the {kind}")  # type: ignore[misc]
        result = httpx.get(f"{service.url}{path}/result", timeout=60)
        lines = [orjson.loads(line) for line in result.content.splitlines()]
        assert [line["status"] for line in lines] == ["ok", "ok"], lines
        if kind == "images":
            assert lines[0]["predictions"][0]["label"] == "espresso"
        assert httpx.delete(f"{service.url}{path}").status_code == 204


def test_requests_are_answered_while_a_job_is_worked_on(service: Server) -> None:
    sent = httpx.post(
        f"{service.url}/v1/tabular/jobs",
        params={"id_column": "row"},
        content=table(service),
        headers={"Content-Type": "text/csv"},
        timeout=60,
    )
    path, row = sent.headers["Location"], tabular_example(service.url)
    answered = 0
    while job_at(service, path)["status"] in ("queued", "running") and answered < 20:
        answer = httpx.post(f"{service.url}/v1/tabular/predict", json={"instances": [row]}, timeout=60)
        assert answer.status_code == 200
        answered += 1

    assert answered
    assert httpx.delete(f"{service.url}{path}").status_code == 204

"""Limits on jobs: places for uploads, disk space for items, results and exports, and the number of jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serving.access.api_keys import hash_of
from serving.jobs.storage.store import JobStore
from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.in_process_service import LocalService
from tests.serving.routes.test_jobs import CSV, TABLE, TABULAR, USERS


def test_uploads_of_one_caller_leave_places_for_others() -> None:
    other = "mk_another-key-of-the-tests"
    local_service = LocalService(api_keys=f"{API_KEYS},other:predict:{hash_of(other)}")

    async def test() -> None:
        end = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield TABLE[:10].encode()
            await end.wait()
            yield TABLE[10:].encode()

        async with local_service.client() as client:
            sent = {**CSV, **headers("predict")}
            uploads = [asyncio.create_task(client.post(TABULAR, content=slow(), headers=sent)) for _ in range(8)]
            while sum(task.done() for task in uploads) < 4:
                await asyncio.sleep(0.01)
            quick = await client.post(TABULAR, content=TABLE.encode(), headers={**CSV, "X-API-Key": other})
            end.set()
            answers = await asyncio.gather(*uploads)

        assert quick.status_code == 202
        assert sorted(answer.status_code for answer in answers) == [202] * 4 + [429] * 4
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["type"] == "/problems/caller-limit"
        assert "you use 4 of the 8 uploads of jobs" in refused.json()["detail"]
        assert refused.headers["Retry-After"] == "1"

    asyncio.run(test())


def test_a_job_whose_result_would_not_fit_is_refused_and_leaves_no_files(tmp_path: Path) -> None:
    local_service = LocalService(state_folder=str(tmp_path), job_max_disk_bytes=10_000, job_max_bytes=1000)
    header, row, *_ = TABLE.splitlines(keepends=True)

    refused = local_service.post(TABULAR, content=(header + row * 12).encode(), headers=CSV)

    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-jobs")
    assert "left of your share" in refused.json()["detail"]
    assert [each for each in (tmp_path / "jobs").iterdir() if each.is_dir()] == []
    assert local_service.post(TABULAR, content=TABLE.encode(), headers=CSV).status_code == 202


def cancelled_job(local_service: LocalService) -> str:
    """Return the path of the result of a job that was cancelled."""
    job = local_service.post(TABULAR, content=TABLE.encode(), headers=CSV).json()
    local_service.post(job["links"]["cancel"])
    return str(job["links"]["result"])


def test_a_result_whose_files_are_missing_is_a_problem_and_not_a_broken_answer(
    local_service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = cancelled_job(local_service)
    monkeypatch.setattr(JobStore, "segments", lambda self, job_id: [("0" * 16, 7)])

    for format_ in ("ndjson", "csv"):
        answer = local_service.get(result, params={"format": format_})
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/jobs-unavailable")


def test_an_export_counts_as_used_space_until_it_is_sent_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_service = LocalService(state_folder=str(tmp_path))
    result = cancelled_job(local_service)
    reserved: list[int] = []
    end_reservation = JobStore.end_reservation

    def watched(store: JobStore, name: str) -> None:
        with store._database.reading() as connection:
            reserved.extend(row[0] for row in connection.execute("SELECT size_bytes FROM reservations"))
        end_reservation(store, name)

    def files() -> set[Path]:
        return {path for path in (tmp_path / "jobs").rglob("*") if not path.name.startswith("jobs.db")}

    monkeypatch.setattr(JobStore, "end_reservation", watched)
    before = files()

    assert local_service.get(result, params={"format": "csv"}).status_code == 200
    assert files() == before
    until = time.monotonic() + 60
    while not reserved:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert reserved == [1 << 20]


def test_a_caller_with_too_many_jobs_is_refused_with_the_remedy() -> None:
    local_service = LocalService(job_max_per_caller=1)
    local_service.post(USERS, json={"user_ids": ["alice"]})

    refused = local_service.post(USERS, json={"user_ids": ["alice"]})

    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-jobs")
    assert refused.headers["Retry-After"] == "60"

"""Jobs over HTTP: submit, get, list, fetch the result, cancel and delete, with the rights of each caller."""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pyarrow.parquet
import pytest

from serving.access.api_keys import hash_of
from serving.errors.exceptions import NotAcceptable
from serving.jobs.storage.database import Database
from serving.jobs.storage.store import JobLimits, JobStore
from serving.routes.jobs import _accepted_format
from tests.hostile_files import tar_of_pax_digits, tar_xz_of_zeros
from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.http_server import listening
from tests.serving.in_process_service import ROW, LocalService, png
from tests.serving.jobs.job_fixtures import zipped

TABULAR, IMAGES, USERS = "/v1/tabular/jobs", "/v1/images/jobs", "/v1/recommendations/jobs"
CSV = {"Content-Type": "text/csv"}
TABLE = "age,credit amount,sex,purpose,class,größe\n" + "33,1169,male,car,true,1.5\n" * 2 + "x,1,male,car,true,\n"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A service with workers."""
    with listening(LocalService().edged) as address, httpx.Client(base_url=f"http://{address}", timeout=120) as client:
        yield client


def finished(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """Return the job in a response once it is over."""
    assert answer.status_code == 202, answer.text
    until = time.monotonic() + 120
    while True:
        job: dict[str, Any] = client.get(answer.headers["Location"]).json()
        if job["status"] not in ("queued", "running"):
            return job
        assert time.monotonic() < until
        time.sleep(0.02)


def lines(client: httpx.Client, job: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.get(job["links"]["result"])
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [orjson.loads(line) for line in answer.content.splitlines()]


def test_a_hostile_archive_does_not_hold_the_gateway(client: httpx.Client) -> None:
    # CVE-2024-6232: Python's reader of tar files needs 6 s for it, during which no other thread runs.
    answers: list[httpx.Response] = []
    headers = {"Content-Type": "application/gzip"}
    send = threading.Thread(
        target=lambda: answers.append(client.post(IMAGES, content=tar_of_pax_digits(160_000), headers=headers))
    )
    send.start()
    longest_s = 0.0
    while send.is_alive():
        # The processor time of this process, which is the gateway: others may use the machine.
        begun = time.process_time()
        assert client.get("/livez").status_code == 200
        longest_s = max(longest_s, time.process_time() - begun)
    assert longest_s < 2
    assert (answers[0].status_code, answers[0].json()["type"]) == (413, "/problems/too-large")
    assert "a header of the archive has more than" in answers[0].json()["detail"]


def test_other_compressions_are_refused_with_the_remedy(client: httpx.Client) -> None:
    refused = client.post(IMAGES, content=tar_xz_of_zeros(1), headers={"Content-Type": "application/x-tar"})
    assert refused.status_code == 415
    assert refused.json()["detail"] == "the archive is compressed with xz; send zip, tar or tar.gz"


def test_a_table_is_answered_row_by_row(client: httpx.Client) -> None:
    job = finished(client, client.post(TABULAR, content=TABLE.encode(), headers=CSV))

    assert job["status"] == "succeeded"
    assert job["progress"] == {"done": 3, "total": 3, "failed": 1}
    assert job["models"] == [{"name": "tabular", "version": "v1", "items": 2}]
    results = lines(client, job)
    assert [line["index"] for line in results] == [0, 1, 2]
    direct = client.post("/v1/tabular/predict", json={"instances": [ROW]}).json()
    assert results[0] == {"index": 0, "status": "ok", **direct["predictions"][0], "model": direct["model"]}
    assert results[2]["error"]["detail"] == "age: Input should be a valid number"


@pytest.mark.slow
def test_a_result_is_returned_in_the_requested_format(client: httpx.Client) -> None:
    job = finished(client, client.post(TABULAR, content=TABLE.encode(), headers=CSV))
    result = job["links"]["result"]

    as_csv = client.get(result, headers={"Accept": "text/csv"})
    as_parquet = client.get(result, params={"format": "parquet"})

    assert as_csv.headers["content-type"].startswith("text/csv")
    assert len(as_csv.text.splitlines()) == 4
    assert pyarrow.parquet.read_table(io.BytesIO(as_parquet.content)).num_rows == 3
    assert client.get(result, headers={"Accept": "image/png"}).status_code == 406
    assert client.get(result, headers={"Accept": "application/json, */*;q=0.1"}).status_code == 200
    head = client.head(result)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("accept", "format_"),
    [([], "ndjson"), (["*/*"], "ndjson"), (["application/x-ndjson"], "ndjson"), (["text/*"], "csv"),
     (["application/x-ndjson;q=0.1, text/csv"], "csv"), (["text/csv;q=0.5", "application/*;q=0.6"], "ndjson"),
     (["text/csv;q=0, */*"], "ndjson"), (["*/*;q=0.5, application/vnd.apache.parquet;q=0.9"], "parquet"),
     (["application/json"], "ndjson"), (['text/csv;x="a,b"'], "csv"), (["TEXT/CSV ; header=present"], "csv"),
     (["application/x-ndjson;q=0, */*"], "csv")],
)  # fmt: skip
def test_the_format_is_the_one_that_the_client_prefers(accept: list[str], format_: str) -> None:
    assert _accepted_format(accept) == format_


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", "*/*;q=0.000", "text/html, application/xml"])
def test_a_format_that_the_service_does_not_have_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="a result is available as application/x-ndjson, text/csv"):
        _accepted_format([accept])


def test_csv_has_no_formula_unless_they_are_requested(client: httpx.Client) -> None:
    table = "key," + TABLE.replace("33,", "=1+1,33,").replace("x,1,", "@SUM(1),1,1,")
    job = finished(client, client.post(TABULAR, params={"id_column": "key"}, content=table.encode(), headers=CSV))

    def ids(**query: str) -> list[str]:
        text = client.get(job["links"]["result"], params={"format": "csv", **query}).text
        return [row["id"] for row in csv.DictReader(io.StringIO(text))]

    assert ids() == ["'=1+1", "'=1+1", "'@SUM(1)"]
    assert ids(formulas="kept") == ["=1+1", "=1+1", "@SUM(1)"]
    assert [line["id"] for line in lines(client, job)] == ["=1+1", "=1+1", "@SUM(1)"]
    assert client.get(job["links"]["result"], params={"formulas": "none"}).status_code == 422


def test_an_archive_is_answered_file_by_file(client: httpx.Client) -> None:
    archive = zipped({"red.png": png(), "blue.png": png((0, 0, 255)), "notes.txt": b"no image"})

    job = finished(
        client,
        client.post(IMAGES, params={"top_k": 1}, content=archive, headers={"Content-Type": "application/zip"}),
    )

    results = lines(client, job)
    assert [(line["name"], line["status"]) for line in results] == [
        ("red.png", "ok"), ("blue.png", "ok"), ("notes.txt", "error"),
    ]  # fmt: skip
    assert results[1]["predictions"][0]["label"] == "blue"
    assert results[2]["error"]["status"] == 415


def test_users_are_answered_one_by_one(client: httpx.Client) -> None:
    job = finished(client, client.post(USERS, json={"user_ids": ["alice", "broken", "nobody"], "n": 2}))

    assert job["options"] == {"n": 2}
    assert [(line["user_id"], line["status"]) for line in lines(client, job)] == [
        ("alice", "ok"), ("broken", "error"), ("nobody", "ok"),
    ]  # fmt: skip


def test_a_job_has_an_etag_and_is_deleted_with_its_result(client: httpx.Client) -> None:
    job = finished(client, client.post(USERS, json={"user_ids": ["alice"]}))
    response = client.get(job["links"]["job"])
    assert client.get(job["links"]["job"], headers={"If-None-Match": response.headers["ETag"]}).status_code == 304
    assert "Retry-After" not in response.headers
    # A job that is over does not change.
    assert client.post(f"{job['links']['job']}/cancel").json()["status"] == "succeeded"

    assert client.delete(job["links"]["job"]).status_code == 204
    for path in (job["links"]["job"], job["links"]["result"]):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("path", "request_", "status", "says"),
    [
        (TABULAR, {"content": b"", "headers": CSV}, 422, "empty"),
        (TABULAR, {"content": b"age\n1\n", "headers": CSV}, 422, "is missing"),
        (TABULAR, {"content": b"colour\n1\n", "headers": CSV}, 422, "'age' is missing; the table has: 'colour'"),
        (f"{TABULAR}?extra=refuse", {"content": b"colour\n1\n", "headers": CSV}, 422, "no column 'colour'"),
        (TABULAR, {"content": TABLE.encode("utf-16"), "headers": CSV}, 422, "not UTF-8"),
        (TABULAR, {"content": b"x", "headers": {"Content-Type": "text/html"}}, 415, "text/csv"),
        (TABULAR, {"content": b"x"}, 422, "is missing"),
        (TABULAR, {"content": b"x", "headers": {**CSV, "Content-Encoding": "br"}}, 415, "'br' is not supported"),
        (TABULAR, {"content": b"x", "headers": {"Content-Type": "application/vnd.apache.parquet"}}, 422, "Parquet"),
        (TABULAR, {"content": TABLE.encode(), "headers": CSV, "params": {"id": "x"}}, 422, "known: id_column, extra"),
        (TABULAR, {"files": {"table": ("t.csv", b"x")}}, 422, "Unknown field"),
        (TABULAR, {"content": TABLE.encode(), "headers": {**CSV, "Idempotency-Key": "a b"}}, 422, "no blank"),
        (IMAGES, {"content": b"x", "headers": {"Content-Type": "application/zip"}}, 422, "not a zip or tar"),
        (IMAGES, {"json": {"folder": "/etc"}}, 415, "application/zip"),
        (USERS, {"json": {"user_ids": []}}, 422, "at least 1"),
        (USERS, {"json": {"user_ids": ["a"], "n": 1000}}, 422, "less than or equal to 100"),
        (USERS, {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "JSON"),
    ],
)
def test_an_invalid_job_is_refused_and_leaves_no_files(
    tmp_path: Path, path: str, request_: dict[str, Any], status: int, says: str
) -> None:
    local_service = LocalService(state_folder=str(tmp_path))

    answer = local_service.post(path, **request_)

    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]
    assert local_service.get("/v1/jobs").json()["jobs"] == []
    assert [each for each in (tmp_path / "jobs").glob("*") if each.is_dir()] == []


def test_a_body_over_the_limit_is_refused(tmp_path: Path) -> None:
    local_service = LocalService(job_max_bytes=1000, max_body_bytes=10, state_folder=str(tmp_path))
    assert local_service.post(TABULAR, content=TABLE.encode(), headers=CSV).status_code == 202

    assert local_service.post(TABULAR, content=TABLE.encode() * 10, headers=CSV).status_code == 413
    streamed = local_service.post(TABULAR, content=_pieces(TABLE.encode() * 10), headers=CSV)
    assert streamed.status_code == 413
    assert len([each for each in (tmp_path / "jobs").iterdir() if each.is_dir()]) == 1


async def _pieces(data: bytes) -> Any:
    for start in range(0, len(data), 100):
        yield data[start : start + 100]


def test_a_repeated_key_returns_the_same_job_and_refuses_another(local_service: LocalService) -> None:
    named = {**CSV, "Idempotency-Key": "k1"}
    first = local_service.post(TABULAR, content=TABLE.encode(), headers=named)
    again = local_service.post(TABULAR, content=TABLE.replace("\n", "\r\n").encode(), headers=named)

    assert again.status_code == first.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    other = local_service.post(TABULAR, content=(TABLE + "1,1,male,car,true,\n").encode(), headers=named)
    assert other.status_code == 409
    assert other.json()["type"] == "/problems/key-reused"
    assert len(local_service.get("/v1/jobs").json()["jobs"]) == 1


def test_a_queued_job_has_no_result_and_a_retry_after(local_service: LocalService) -> None:
    job = local_service.post(TABULAR, content=TABLE.encode(), headers=CSV).json()

    response, result = local_service.get(job["links"]["job"]), local_service.get(job["links"]["result"])
    assert response.json()["status"] == "queued"
    assert response.headers["Retry-After"] == "1"
    assert (result.status_code, result.json()["type"]) == (409, "/problems/job-not-done")
    assert result.headers["Retry-After"] == "2"

    cancelled = local_service.post(job["links"]["cancel"])
    assert cancelled.json()["status"] == "cancelled"
    assert (
        local_service.get(job["links"]["result"]).status_code,
        local_service.get(job["links"]["result"]).content,
    ) == (200, b"")


def test_an_expired_job_is_gone(tmp_path: Path) -> None:
    local_service = LocalService(state_folder=str(tmp_path), job_ttl_s=0.000001)
    job = local_service.post(TABULAR, content=TABLE.encode(), headers=CSV).json()
    local_service.post(job["links"]["cancel"])
    JobStore(Database(tmp_path / "jobs"), JobLimits()).expire()

    gone = local_service.get(job["links"]["result"])
    assert (gone.status_code, gone.json()["type"]) == (410, "/problems/gone")
    assert local_service.get(job["links"]["job"]).json()["status"] == "expired"


def test_jobs_are_listed_page_by_page(local_service: LocalService) -> None:
    ids = [local_service.post(USERS, json={"user_ids": ["alice"]}).json()["id"] for _ in range(3)]
    local_service.post(TABULAR, content=TABLE.encode(), headers=CSV)

    first = local_service.get("/v1/jobs", params={"kind": "recommendations", "page_size": 2}).json()
    second = local_service.get(
        "/v1/jobs", params={"kind": "recommendations", "page_size": 2, "page_token": first["next_page_token"]}
    ).json()

    assert [job["id"] for job in (*first["jobs"], *second["jobs"])] == ids[::-1]
    assert second["next_page_token"] is None
    assert local_service.get("/v1/jobs", params={"status": "failed"}).json()["jobs"] == []
    assert local_service.get("/v1/jobs", params={"page_token": "x"}).status_code == 422


def test_a_caller_sees_its_own_jobs_and_an_administrator_all() -> None:
    other = "mk_another-key-of-the-tests"
    local_service = LocalService(api_keys=f"{API_KEYS},other:predict:{hash_of(other)}")
    job = local_service.post(USERS, json={"user_ids": ["alice"]}, headers=headers("predict")).json()
    assert job["owner"] == "predicter"

    strange = {"X-API-Key": other}
    for method, path in (
        ("GET", job["links"]["job"]), ("GET", job["links"]["result"]), ("POST", job["links"]["cancel"]),
        ("DELETE", job["links"]["job"]),
    ):  # fmt: skip
        assert local_service.ask(method, path, headers=strange).status_code == 404
    assert local_service.get("/v1/jobs", headers=strange).json()["jobs"] == []

    for role in ("predict", "admin"):
        assert len(local_service.get("/v1/jobs", headers=headers(role)).json()["jobs"]) == 1
    assert local_service.post(USERS, json={"user_ids": ["a"]}, headers=headers("read")).status_code == 403
    assert local_service.post(USERS, json={"user_ids": ["a"]}).status_code == 401
    assert local_service.ask("DELETE", job["links"]["job"], headers=headers("admin")).status_code == 204


def test_without_storage_jobs_are_refused_and_other_operations_work(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("in the way")
    local_service = LocalService(state_folder=str(tmp_path))

    refused = local_service.post(USERS, json={"user_ids": ["alice"]})

    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/jobs-unavailable")
    assert str(tmp_path) not in refused.text
    assert local_service.get("/v1/jobs").status_code == 503
    assert local_service.post("/v1/recommendations", json={"user_id": "alice"}).status_code == 200


def test_a_folder_of_the_machine_is_read_where_a_setting_allows_it(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "red.png").write_bytes(png())
    local_service = LocalService(job_folders=[str(tmp_path / "images")])

    assert local_service.post(IMAGES, json={"folder": str(tmp_path / "images")}).json()["progress"]["total"] == 1
    refused = local_service.post(IMAGES, json={"folder": str(tmp_path)})
    assert refused.status_code == 422
    assert "no such folder" in refused.json()["detail"]


def test_a_large_table_is_counted_before_the_response(local_service: LocalService) -> None:
    header, row, *_ = TABLE.splitlines(keepends=True)
    table = (header + row * 12_000).encode()
    assert len(table) > 256 << 10

    assert local_service.post(TABULAR, content=table, headers=CSV).json()["progress"]["total"] == 12_000

"""The content of an upload decides where its media type says little: systems and browsers name types differently."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile

import pyarrow
import pyarrow.parquet
import pytest

from tests.serving.in_process_service import ROW, LocalService, png

TABULAR, IMAGES, USERS = "/v1/tabular/jobs", "/v1/images/jobs", "/v1/recommendations/jobs"
CSV_TYPES = (
    "application/csv", "application/octet-stream", "application/vnd.ms-excel", "application/x-csv", "text/csv",
    "text/comma-separated-values", "text/plain", "text/x-csv", "",
)  # fmt: skip
NDJSON_TYPES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines", "application/octet-stream")
GZIP_TYPES = ("application/gzip", "application/octet-stream", "application/x-gzip", "application/x-compressed")
ZIP_TYPES = ("application/octet-stream", "application/x-zip-compressed", "application/x-zip", "application/zip", "")


def csv() -> bytes:
    return (",".join(ROW) + "\n" + ",".join("" if each is None else str(each) for each in ROW.values()) + "\n").encode()


def ndjson() -> bytes:
    return json.dumps(ROW).encode() + b"\n"


def parquet() -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW]), file)
    return file.getvalue()


def packed(*, is_zip: bool) -> bytes:
    file = io.BytesIO()
    if is_zip:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("red.png", png())
        return file.getvalue()
    with tarfile.open(fileobj=file, mode="w:gz") as archive_:
        member = tarfile.TarInfo("red.png")
        member.size = len(png())
        archive_.addfile(member, io.BytesIO(png()))
    return file.getvalue()


def submitted(local_service: LocalService, path: str, body: bytes, media_type: str) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    response = local_service.post(path, content=body, headers=headers)

    assert response.status_code == 202, (media_type, response.text)
    assert response.json()["progress"] == {"done": 0, "total": 1, "failed": 0}


def as_form(local_service: LocalService, body: bytes, media_type: str, name: str = "table") -> None:
    response = local_service.post(TABULAR, files={"file": (name, body, media_type or "application/octet-stream")})

    assert response.status_code == 202, (media_type, response.text)


@pytest.fixture(scope="module")
def local_service() -> LocalService:
    return LocalService(job_max_per_caller=1000)


@pytest.mark.slow
def test_tables_of_every_type(local_service: LocalService) -> None:
    for body, media_types in (
        (csv(), CSV_TYPES),
        (ndjson(), NDJSON_TYPES),
        (
            parquet(),
            ("application/vnd.apache.parquet", "application/x-parquet", "application/octet-stream", "text/csv"),
        ),
    ):
        for media_type in media_types:
            submitted(local_service, TABULAR, body, media_type)
            as_form(local_service, body, media_type)
    for media_type in (*GZIP_TYPES, "text/csv"):
        submitted(local_service, TABULAR, gzip.compress(csv()), media_type)
        as_form(local_service, gzip.compress(csv()), media_type, "table.csv.gz")
    submitted(local_service, TABULAR, gzip.compress(ndjson()), "application/gzip")


def test_archives_of_every_type(local_service: LocalService) -> None:
    for media_type in ZIP_TYPES:
        submitted(local_service, IMAGES, packed(is_zip=True), media_type)
    for media_type in GZIP_TYPES:
        submitted(local_service, IMAGES, packed(is_zip=False), media_type)


@pytest.mark.parametrize("body", [b"user_id\nalice\n", b'{"user_id": "alice"}\n', b'{"user_ids": ["alice"]}'])
def test_users_of_every_type(local_service: LocalService, body: bytes) -> None:
    for media_type in ("application/octet-stream", "text/plain", ""):
        submitted(local_service, USERS, body, media_type)


@pytest.mark.parametrize(
    "media_type", ["application/octet-stream", "binary/octet-stream", "image/pjpeg", "image/jpg", ""]
)
def test_an_image_of_every_type(local_service: LocalService, media_type: str) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    for path in ("/v1/images/classify", "/v2/images/classify"):
        assert local_service.post(path, content=png(), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "media_type", "status", "says"),
    [
        (TABULAR, packed(is_zip=True), "application/vnd.ms-excel", 415, "Excel workbook or a zip archive"),
        (TABULAR, b"\xd0\xcf\x11\xe0", "application/vnd.ms-excel", 415, "Excel workbook"),
        (TABULAR, csv(), "image/png", 415, "not 'image/png'"),
        (IMAGES, csv(), "text/csv", 415, "not 'text/csv'"),
        (USERS, parquet(), "application/octet-stream", 415, "not from Parquet"),
        (TABULAR, csv(), "application/x-www-form-urlencoded", 415, "x-www-form-urlencoded"),
        (TABULAR, gzip.compress(ndjson())[:-9], "application/x-ndjson", 422, "gzip, and damaged"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    local_service: LocalService, path: str, body: bytes, media_type: str, status: int, says: str
) -> None:
    response = local_service.post(path, content=body, headers={"Content-Type": media_type})

    assert response.status_code == status, response.text
    assert says in response.json()["detail"]

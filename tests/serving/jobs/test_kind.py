"""A kind of job that the service does not know: what it supplies is enough to take, process and return a job."""

from __future__ import annotations

import asyncio
import csv
import io
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.card import Column
from models.errors import InvalidInput
from serving.http.operation import Content
from serving.http.requests.form_reader import MULTIPART
from serving.http.requests.query import Query
from serving.jobs.build import Jobs, build_jobs
from serving.jobs.decoding.decode import ItemStream
from serving.jobs.decoding.task import CSV, NDJSON, PARQUET, DecodeTask
from serving.jobs.kind import JobKind, JobSubmission
from serving.jobs.outcomes import Options, Outcome, process_each
from serving.jobs.service import Submission
from serving.jobs.storage.item_file import JobItem, read_items
from serving.jobs.storage.record import Job
from serving.kinds.registry import ServiceSettings
from serving.routes import job_submissions, jobs
from serving.runners.interface import ModelRef
from tests.serving.event_loop import in_loop
from tests.serving.jobs.decoding.uploads import parquet
from tests.serving.jobs.job_fixtures import TABLE

MODEL = ModelRef("topics", "v3")
DECODER = f"{__name__}:decode_process_id"


class LengthProcessor:
    """Answers each text with its length and its words. An empty text is an error."""

    batch_items = 2

    async def process(self, items: Sequence[JobItem], options: Options) -> list[Outcome]:
        async def process(part: Sequence[JobItem]) -> list[Outcome]:
            texts = [item.head["row"]["text"] for item in part]
            if "" in texts:
                raise InvalidInput("text: should not be empty")
            return [Outcome({"status": "ok", "length": len(text), "words": text.split()}, MODEL) for text in texts]

        return await process_each(items, process)


def count_columns(name: str, value: Any) -> Mapping[str, Any] | None:
    return {"word_count": len(value)} if name == "words" else None


def kind(name: str = "texts") -> JobKind:
    submission = JobSubmission(
        "submit_text_job",
        "texts",
        "Measure texts",
        "A table with a column of texts.",
        Query,
        Content(CSV, dict),
        tuple(Content(media_type, dict) for media_type in (NDJSON, PARQUET, MULTIPART)),
    )
    return JobKind(
        name,
        LengthProcessor(),
        TABLE,
        submission,
        columns=lambda: (Column("text", "text"),),
        item_labels=("id",),
        export_columns=f"{__name__}:count_columns",
        example=lambda: {"length": 3, "model": {"name": "topics", "version": "v3"}},
    )


def service_of(tmp_path: Path, *kinds: JobKind) -> Jobs:
    return build_jobs(kinds, ServiceSettings(state_folder=str(tmp_path)), is_stopping=lambda: False)


async def body_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def finished(built: Jobs, data: bytes, content_type: str) -> Job:
    """Submit a job, run the background tasks until it is over, and return it."""
    submitted = Submission(kind(), "ann", content_type=content_type, options={"id_column": "key"})
    job = await built.service.submit(submitted, body_of(data))
    built.start()
    while job.is_active:
        await asyncio.sleep(0.01)
        job = await built.service.find(job.id, owner="ann")
    await built.stop()
    return job


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        (CSV, b"key,text\na,one\nb,\nc,one two\n"),
        (NDJSON, b'{"key":"a","text":"one"}\n{"key":"b","text":""}\n{"key":"c","text":"one two"}\n'),
        (PARQUET, parquet([{"key": "a", "text": "one"}, {"key": "b", "text": ""}, {"key": "c", "text": "one two"}])),
    ],
)
def test_a_new_kind_has_every_format_of_tables_and_results(tmp_path: Path, content_type: str, data: bytes) -> None:
    @in_loop
    async def test() -> None:
        built = service_of(tmp_path, kind())

        job = await finished(built, data, content_type)

        assert (job.kind, job.status, job.done, job.failed) == ("texts", "succeeded", 3, 1)
        assert [(usage.name, usage.version, usage.items) for usage in job.models] == [("topics", "v3", 2)]
        result = await built.service.result(job.id, "csv", owner="ann")
        rows = list(csv.DictReader(io.StringIO(b"".join([chunk async for chunk in result.chunks]).decode())))
        assert [(row["id"], row["status"], row["length"], row["word_count"]) for row in rows] == [
            ("a", "ok", "3", "1"), ("b", "error", "", ""), ("c", "ok", "7", "2"),
        ]  # fmt: skip
        result.close()
        await built.stop()

    test()


def decode_process_id(task: DecodeTask) -> ItemStream:
    return ItemStream([JobItem({"row": {"text": str(os.getpid())}})])


def test_no_upload_is_decoded_in_the_gateway_however_small(tmp_path: Path) -> None:
    @in_loop
    async def test() -> None:
        built = service_of(tmp_path, kind())
        submitted = Submission(replace(kind(), decoder=DECODER), "ann", content_type=CSV)
        job = await built.service.submit(submitted, body_of(b"text\n"))
        (item,) = read_items(tmp_path / "jobs" / job.id, 0, 1)
        assert item.head["row"]["text"] != str(os.getpid())
        await built.stop()

    test()


def test_its_operation_and_its_examples_are_in_the_api(tmp_path: Path) -> None:
    service = service_of(tmp_path, kind()).service

    (submit,) = job_submissions.operations(service)
    assert (submit.id, submit.path, submit.tag) == ("submit_text_job", "/v1/texts/jobs", "texts")
    listing, _, result, *_ = jobs.operations(service)
    kinds = next(parameter for parameter in listing.parameters() if parameter["name"] == "kind")
    assert kinds["schema"] == {"const": "texts", "type": "string"}
    assert result.answer is not None
    assert list(result.answer.examples()) == ["texts"]


def test_two_kinds_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same name: texts, texts"):
        service_of(tmp_path, kind(), kind())


@in_loop
async def test_a_job_of_a_kind_that_was_removed_fails_with_the_reason(tmp_path: Path) -> None:
    before = service_of(tmp_path, kind())
    submitted = Submission(kind(), "ann", content_type=CSV)
    job = await before.service.submit(submitted, body_of(b"text\none\n"))
    await before.stop()
    built = service_of(tmp_path, kind("others"))

    built.start()
    while job.is_active:
        await asyncio.sleep(0.01)
        job = await built.service.find(job.id, owner="ann")
    result = await built.service.result(job.id, "csv", owner="ann")
    result.close()
    await built.stop()

    assert job.status == "failed"
    assert "no jobs of the kind 'texts'" in job.fault
    assert result.size_bytes == len("\r\n")

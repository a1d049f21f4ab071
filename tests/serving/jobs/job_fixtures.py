"""Fixtures for tests of jobs: a storage in a temporary folder, tasks for the decoder, archives, and a kind of job."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.card import Column
from serving.http.operation import Content
from serving.http.requests.query import Query
from serving.jobs.decoding.decode import ItemStream
from serving.jobs.decoding.file_uploads import read_files
from serving.jobs.decoding.task import UPLOAD, DecodeLimits, DecodeTask
from serving.jobs.kind import ItemProcessor, JobKind, JobSubmission
from serving.jobs.outcomes import Outcome
from serving.jobs.storage.database import Database
from serving.jobs.storage.disk_space import DiskSpace
from serving.jobs.storage.files import JobFiles
from serving.jobs.storage.item_file import ItemWriter, JobItem
from serving.jobs.storage.leases import LeaseStore
from serving.jobs.storage.record import Job, NewJob
from serving.jobs.storage.store import JobLimits, JobStore
from serving.runners.interface import ModelRef

COLUMNS = (
    Column("age", "integer"),
    Column("sex", "category"),
    Column("income", "number", required=False, nullable=True),
    Column("owns", "boolean", required=False, nullable=False),
)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class JobStorage:
    """The database and the folders that the gateways of a host share, and a clock."""

    def __init__(self, root: Path, *, limits: JobLimits | None = None) -> None:
        self.root = root
        self.clock = Clock()
        self.limits = limits or JobLimits(ttl_s=100)
        self.folders = JobFiles(root)
        self.space = DiskSpace(root, self.limits.max_disk_bytes, clock=self.clock)
        self.store = JobStore(Database(root), self.limits, clock=self.clock, space=self.space)

    def leases(self, *, lease_s: float = 10, clock: Callable[[], float] | None = None) -> LeaseStore:
        """Return the leases of one gateway, with a separate connection."""
        return LeaseStore(
            Database(self.root),
            lease_s=lease_s,
            ttl_s=self.limits.ttl_s,
            space=self.space,
            clock=clock or self.clock,
            lease_clock=clock or self.clock,
        )

    def add(self, name: str, items: Sequence[JobItem] = (JobItem({}),), *, kind: str = "tabular", **more: Any) -> Job:
        """Add a job with `items` and its files. `name` is one hexadecimal digit."""
        job_id = name * 32
        folder = self.folders.make(job_id)
        with ItemWriter(folder, max_items=10**6, max_bytes=10**9) as writer:
            for item in items:
                writer.add(item)
        details = {"owner": "ann", "options": {}, "fingerprint": writer.sha256, **more}
        details = {"caller": f"key:{details['owner']}", **details}
        new = NewJob(job_id, kind, total=len(items), size_bytes=writer.size_bytes, **details)
        self.folders.settle(new)
        job = self.store.add(new)[0]
        self.folders.unlock(job_id)
        return job

    def lines(self, job_id: str) -> bytes:
        """Return the valid part of the result of a job."""
        return b"".join(
            (self.folders.of(job_id) / f"{token}.lines").read_bytes()[:size]
            for token, size in self.store.segments(job_id)
        )


TABLE = "serving.jobs.decoding.table_uploads:decode_table"
FILES = "tests.serving.jobs.job_fixtures:decode_files"


def decode_files(task: DecodeTask) -> ItemStream:
    """Decode files: the parts of a form are called `files` and `archive`."""
    return ItemStream(read_files(task, item_part="files", archive_part="archive"), empty_detail="no file")


def decode_task(folder: Path, data: bytes, content_type: str, decoder: str = TABLE, **more: Any) -> DecodeTask:
    """Write `data` as an upload, and return the task to decode it."""
    (folder / UPLOAD).write_bytes(data)
    limits = DecodeLimits(max_items=1000, max_item_bytes=100_000, max_unpacked_bytes=1_000_000)
    return DecodeTask(decoder, content_type, folder, **{"limits": limits, "columns": COLUMNS, **more})


def job_kind(processor: ItemProcessor, name: str = "tabular", **more: Any) -> JobKind:
    """Return a kind of job that `processor` answers."""
    submission = JobSubmission("submit", "jobs", "Submit", "A job.", Query, Content("text/csv", dict))
    return JobKind(name, processor, TABLE, submission, **more)


def zipped(files: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> bytes:
    """Return a tar archive. A TarInfo in place of bytes is added unchanged."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]  # one of its literals
        for name, data in files.items():
            member = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(data, bytes):
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data) if isinstance(data, bytes) else None)
    return buffer.getvalue()


class EchoProcessor:
    """A processor that answers each item with its number, in batches of three. `before` runs before each batch."""

    batch_items = 3

    def __init__(self, before: Callable[[Sequence[JobItem]], None] = lambda items: None, version: str = "v1") -> None:
        self.before = before
        self.version = version
        self.batches: list[list[Any]] = []

    async def process(self, items: Sequence[JobItem], options: Mapping[str, Any]) -> list[Outcome]:
        self.before(items)
        self.batches.append([item.head.get("n") for item in items])
        model = ModelRef("tabular", self.version)
        return [Outcome({"status": "ok", "prediction": item.head.get("n")}, model) for item in items]


def numbered(number: int) -> list[JobItem]:
    """Return items with the numbers 0 to `number`."""
    return [JobItem({"n": index}) for index in range(number)]


def statuses(outcomes: Sequence[Outcome]) -> str:
    """Return a dot for each outcome without an error, and an x for each other one."""
    return "".join("." if outcome.is_ok else "x" for outcome in outcomes)

"""What tests of jobs begin with: stores in a folder of their own, orders, archives, and runners that answer at once."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.jobs.decoding.task import UPLOAD, ColumnSpec, DecodeLimits, DecodeTask
from serving.jobs.outcomes import Outcome
from serving.jobs.storage.database import Database
from serving.jobs.storage.files import JobFiles
from serving.jobs.storage.item_file import Item, ItemWriter
from serving.jobs.storage.leases import Leases
from serving.jobs.storage.record import Job, JobKind, NewJob
from serving.jobs.storage.store import JobLimits, JobStore
from serving.runners.interface import ModelRef

COLUMNS = (
    ColumnSpec("age", "integer", is_required=True, is_nullable=False),
    ColumnSpec("sex", "category", is_required=True, is_nullable=False),
    ColumnSpec("income", "number", is_required=False, is_nullable=True),
    ColumnSpec("owns", "boolean", is_required=False, is_nullable=False),
)


class Clock:
    """A time that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Place:
    """Everything that two gateways of one host share, and their time."""

    def __init__(self, root: Path, *, limits: JobLimits | None = None) -> None:
        self.root = root
        self.clock = Clock()
        self.limits = limits or JobLimits(ttl_s=100)
        self.folders = JobFiles(root)
        self.store = JobStore(Database(root), self.limits, clock=self.clock)

    def leases(self, *, lease_s: float = 10, clock: Callable[[], float] | None = None) -> Leases:
        """Those of one gateway, with a connection of its own."""
        return Leases(Database(self.root), lease_s=lease_s, ttl_s=self.limits.ttl_s, clock=clock or self.clock)

    def add(self, name: str, items: Sequence[Item] = (Item({}),), *, kind: JobKind = "tabular", **more: Any) -> Job:
        """A job with `items`, its files in their place. `name` is one hexadecimal digit."""
        job_id = name * 32
        folder = self.folders.make(job_id)
        with ItemWriter(folder, max_items=10**6, max_bytes=10**9) as writer:
            for item in items:
                writer.add(item)
        new = {"owner": "ann", "options": {}, "fingerprint": writer.sha256, **more}
        return self.store.add(NewJob(job_id, kind, total=len(items), size_bytes=writer.size_bytes, **new))[0]

    def lines(self, job_id: str) -> bytes:
        """The result of a job as it counts."""
        return b"".join(
            (self.folders.of(job_id) / f"{token}.lines").read_bytes()[:size]
            for token, size in self.store.segments(job_id)
        )


def order(folder: Path, data: bytes, content_type: str, kind: JobKind = "tabular", **more: Any) -> DecodeTask:
    """An order for `data`, which is written where it has to be."""
    (folder / UPLOAD).write_bytes(data)
    limits = DecodeLimits(max_items=1000, max_item_bytes=100_000, max_unpacked_bytes=1_000_000)
    return DecodeTask(kind, content_type, folder, **{"limits": limits, "columns": COLUMNS, **more})


def zipped(files: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def tarred(files: Mapping[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> bytes:
    """A tar archive; a TarInfo in place of bytes is added as it is."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]  # one of its literals
        for name, data in files.items():
            member = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(data, bytes):
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data) if isinstance(data, bytes) else None)
    return made.getvalue()


class Echo:
    """Answers each item with its own head, in batches of three. `before` is called before each batch, and may raise."""

    batch_items = 3

    def __init__(self, before: Callable[[Sequence[Item]], None] = lambda items: None, version: str = "v1") -> None:
        self.before = before
        self.version = version
        self.batches: list[list[Any]] = []

    async def answer(self, items: Sequence[Item], options: Mapping[str, Any]) -> list[Outcome]:
        self.before(items)
        self.batches.append([item.head.get("n") for item in items])
        model = ModelRef("tabular", self.version)
        return [Outcome({"status": "ok", "prediction": item.head.get("n")}, model) for item in items]


def numbered(number: int) -> list[Item]:
    """So many items, by their numbers."""
    return [Item({"n": place}) for place in range(number)]

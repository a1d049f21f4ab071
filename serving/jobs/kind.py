"""The interface of a kind of job: what a kind of model supplies so that its batches can be sent as jobs.

A kind has one function in `serving/kinds/<kind>/jobs.py` that returns its JobKind, and a decoder, which may be one of
`serving/jobs/decoding` or its own in `serving/kinds/<kind>/job_items.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from models.card import Column
from serving.http.operation import Content
from serving.http.requests.query import Query
from serving.jobs.outcomes import Options, Outcome
from serving.jobs.storage.item_file import JobItem


class ItemProcessor(Protocol):
    """Answers the items of one kind of job, at most `batch_items` in one call."""

    batch_items: int

    async def process(self, items: Sequence[JobItem], options: Options) -> list[Outcome]:
        """Return one outcome per item in order.

        Raises the errors in `outcomes.TRANSIENT`, after which the worker tries the batch again. Every other error is
        the outcome of an item: see `outcomes.process_each`.
        """
        ...


@dataclass(frozen=True, slots=True)
class JobSubmission:
    """The operation that takes jobs of one kind: its part of the OpenAPI document, and its query string.

    The media types of `body` and `more_bodies` are those that a job may have, and `more_types`, which the document
    does not list: some generators of clients take a type with "json" in its name before all others.
    """

    id: str
    tag: str
    summary: str
    description: str
    query: type[Query]
    body: Content
    more_bodies: tuple[Content, ...] = ()
    more_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of job. `name` is in its path `/v1/<name>/jobs`, in stored jobs, and in the labels of metrics.

    `decoder` and `export_columns` name functions as `package.module:function`, because child processes call them:
    see `decoding.decode.Decoder` and `export.ExportColumns`. Their modules must not import a model, a handler or a web
    framework.
    """

    name: str
    processor: ItemProcessor
    decoder: str
    submission: JobSubmission
    # The columns of a table of items, for the version that answers now. Empty for items of other forms.
    columns: Callable[[], tuple[Column, ...]] = tuple
    # How many bytes the line of one item in the result has at most, usually. The disk space is reserved for each job.
    line_bytes: Callable[[Options], int] = lambda options: 1024
    # The members of an item's head that identify it in the result.
    item_labels: tuple[str, ...] = ()
    # Turns members of a result line into columns of CSV and Parquet. Without it they become JSON text.
    export_columns: str | None = None
    # The prediction for one item and its model, as a line of the result has them, for the OpenAPI document.
    example: Callable[[], Mapping[str, Any]] = dict  # Any: JSON
    # Whether a job may name a folder of this machine, where a setting allows that, in place of a body.
    reads_folders: bool = False
    # The model whose own path it has.
    model: str = ""

    @property
    def media_types(self) -> tuple[str, ...]:
        """The media types that a body may have."""
        about = self.submission
        return (*(body.media_type for body in (about.body, *about.more_bodies)), *about.more_types)

    @property
    def path(self) -> str:
        """The path of the operation that takes jobs of this kind."""
        return f"/v1/{self.name}/jobs"

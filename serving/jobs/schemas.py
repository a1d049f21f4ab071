"""The request and response types of jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from serving.jobs.storage.record import JobStatus
from serving.schemas.fields import EXAMPLE_VERSION, Request, Response

ResultFormat = Literal["ndjson", "csv", "parquet"]


class FolderJob(Request):
    """A folder of files on the service's machine."""

    folder: str = Field(min_length=1, max_length=4096, description="Absolute path, in a folder that a setting allows.")


class JobProgress(Response):
    """The progress of a job."""

    done: int = Field(ge=0, description="Items that are answered, with a result or an error.")
    total: int = Field(ge=1)
    failed: int = Field(ge=0, description="Items whose answer is an error.")


class JobModel(Response):
    """A version of a model that answered items of a job."""

    name: str = Field(examples=["churn"])
    version: str = Field(examples=[EXAMPLE_VERSION])
    items: int = Field(ge=1, description="How many items it answered.")


class JobLinks(Response):
    """Links to the job and its operations."""

    job: str
    result: str
    cancel: str | None = Field(description="POST to this path cancels the job; null when it is over.")


class JobInfo(Response):
    """One job."""

    id: str
    kind: str
    status: JobStatus = Field(
        description="`queued`, `running`; then `succeeded` (every item has a result or an error), `failed` or "
        "`cancelled`; `expired` after `expires`."
    )
    progress: JobProgress
    options: dict[str, Any] = Field(description="The options of the job.")  # Any: JSON
    owner: str = Field(
        description="Name of the key or token that created the job; empty where the service requires none."
    )
    models: list[JobModel] = Field(
        description="The models that answered; several when a model was changed while the job ran."
    )
    error: str | None = Field(description="Why the job as a whole failed; null otherwise.")
    created: datetime
    started: datetime | None
    finished: datetime | None
    expires: datetime | None = Field(description="When the result is deleted; null until the job is over.")
    links: JobLinks


class JobPage(Response):
    """One page of jobs, newest first."""

    jobs: list[JobInfo]
    next_page_token: str | None = Field(description="For `page_token`; null on the last page.")

"""Jobs: what is asked, how one is told, and the lines of its result."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from serving.jobs.storage.record import JobKind, JobStatus
from serving.kinds.recommender.schemas import PerUser, RecommendOptions
from serving.schemas.fields import EXAMPLE_VERSION, Request, Response, UserId


class FolderJob(Request):
    """Images in a folder of the service's machine."""

    folder: str = Field(min_length=1, max_length=4096, description="Absolute path, in a folder that a setting allows.")


class RecommendJob(RecommendOptions):
    """Users, and what to recommend to each."""

    user_ids: Annotated[list[UserId], Field(min_length=1, description="Ids of the users.")]


class UserLine(PerUser):
    """One user of a file, with what is known of them."""

    user_id: UserId


class JobProgress(Response):
    """How far a job is."""

    done: int = Field(ge=0, description="Items that are answered, with a result or an error.")
    total: int = Field(ge=1)
    failed: int = Field(ge=0, description="Items whose answer is an error.")


class JobModel(Response):
    """A version of a model that answered items of a job."""

    name: str = Field(examples=["tabular"])
    version: str = Field(examples=[EXAMPLE_VERSION])
    items: int = Field(ge=1, description="How many items it answered.")


class JobLinks(Response):
    """Where to go on."""

    job: str
    result: str
    cancel: str | None = Field(description="POST there ends the job; null when it is over.")


class JobInfo(Response):
    """One job."""

    id: str
    kind: JobKind
    status: JobStatus = Field(
        description="`queued`, `running`; then `succeeded` (every item has an answer, if need be an error), `failed`, "
        "`cancelled`, and after `expires` `expired`."
    )
    progress: JobProgress
    options: dict[str, Any] = Field(description="What was asked for beside the items.")  # Any: JSON
    owner: str = Field(description="Name of the key or token that made it; empty where none is asked for.")
    models: list[JobModel] = Field(description="What answered: several when a model was changed meanwhile.")
    error: str | None = Field(description="Why the job as a whole failed.")
    created: datetime
    started: datetime | None
    finished: datetime | None
    expires: datetime | None = Field(description="When the result is thrown away; null while there is more to come.")
    links: JobLinks


class JobPage(Response):
    """One page of jobs, newest first."""

    jobs: list[JobInfo]
    next_page_token: str | None = Field(description="For `page_token`; null on the last page.")


ResultFormat = Literal["ndjson", "csv", "parquet"]

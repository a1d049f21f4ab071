"""Jobs of images: classify every file of an archive, a form, or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from serving.http.operation import Content, JsonSchema
from serving.http.requests.form_reader import MULTIPART
from serving.jobs.decoding.task import ARCHIVES
from serving.jobs.kind import JobKind, JobSubmission
from serving.jobs.outcomes import Options, Outcome, process_each
from serving.jobs.storage.item_file import JobItem
from serving.kinds.image.schemas import ClassifyOptions, ImageFailure
from serving.kinds.image.upload import JobQuery
from serving.runners.interface import ModelRef

if TYPE_CHECKING:
    from serving.kinds.image.handler import ImageHandler

# Few images in a batch, because their decoding shares threads with that of requests.
_BATCH_ITEMS = 4
_NAME = "images"


def job_kind(handler: ImageHandler) -> JobKind:
    """Return the kind of job that classifies images."""
    return JobKind(
        name=_NAME,
        processor=ImageProcessor(handler),
        decoder="serving.kinds.image.job_items:decode_images",
        submission=_submission(),
        line_bytes=lambda options: 512 + 128 * int(options.get("top_k", 5)),
        item_labels=("name",),
        export_columns="serving.kinds.image.job_items:export_columns",
        reads_folders=True,
    )


class ImageProcessor:
    """Classifies the images of a job."""

    def __init__(self, handler: ImageHandler) -> None:
        self._handler = handler
        self.batch_items = min(_BATCH_ITEMS, handler.max_images)

    async def process(self, items: Sequence[JobItem], options: Options) -> list[Outcome]:
        """Return the classes or an error for each image."""
        classify_options = ClassifyOptions.model_validate(dict(options))

        async def classify(part: Sequence[JobItem]) -> list[Outcome]:
            response = await self._handler.classify_many([item.body for item in part], classify_options)
            model = None if response.model is None else ModelRef(response.model.name, response.model.version)
            return [
                Outcome(result.model_dump(exclude={"index"}), None if isinstance(result, ImageFailure) else model)
                for result in response.results
            ]

        return await process_each(items, classify)


def _submission() -> JobSubmission:
    form: JsonSchema = {
        "title": "ImageJobForm",
        "type": "object",
        "properties": {
            "images": {"type": "array", "items": _file_schema(), "minItems": 1, "description": "Image files."},
            "archive": {**_file_schema(), "description": "A zip or tar archive of image files."},
        },
        "additionalProperties": False,
        "minProperties": 1,
    }
    return JobSubmission(
        id="submit_image_job",
        tag=_NAME,
        summary="Classify a folder of images",
        description=(
            "The body is a zip or tar archive, a form of many files, or the name of a folder on the service's machine "
            "where a setting allows that folder. Every file is an item. A file that is not an image fails without the "
            "others."
        ),
        query=JobQuery,
        body=Content(MULTIPART, lambda: form),
        more_bodies=tuple(Content(media_type, _file_schema) for media_type in ARCHIVES),
    )


def _file_schema() -> JsonSchema:
    return {"type": "string", "format": "binary"}

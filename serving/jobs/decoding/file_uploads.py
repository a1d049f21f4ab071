"""Read uploads of files: an archive, a form of files and an archive, or a folder of this machine."""

from __future__ import annotations

from collections.abc import Iterator

from serving.header_fields import media_type
from serving.http.requests.form_reader import MULTIPART
from serving.jobs.decoding.archives import archived_files
from serving.jobs.decoding.folders import folder_files
from serving.jobs.decoding.multipart import FormFile, form_items
from serving.jobs.decoding.task import DecodeTask
from serving.jobs.storage.item_file import JobItem


def read_files(task: DecodeTask, *, item_part: str, archive_part: str) -> Iterator[JobItem]:
    """Yield every file of an upload as an item. In a form, files and an archive have the part names given here.

    Raises InvalidInput, InputTooLarge, Malformed, FieldFault.
    """
    if task.source is not None:
        yield from folder_files(task.source, task.roots, task.limits)
    elif media_type(task.content_type) == MULTIPART:
        parts = form_items(task.upload, task.content_type, task.limits, item_part=item_part, file_part=archive_part)
        for part in parts:
            if isinstance(part, FormFile):
                yield from archived_files(part.path, task.limits)
            else:
                yield part
    else:
        yield from archived_files(task.upload, task.limits)

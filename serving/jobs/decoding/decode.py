"""Decode one upload: call the decoder that the task names, and write its items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pkgutil import resolve_name
from typing import Any, Protocol

from models.errors import InvalidInput, UnsupportedMedia
from serving.jobs.decoding.task import FORM_FILE, UPLOAD, DecodeResult, DecodeTask
from serving.jobs.storage.item_file import ItemWriter, JobItem

_UTF_8 = ("", "utf-8", "utf8", "us-ascii")


@dataclass(frozen=True, slots=True)
class ItemStream:
    """The items of an upload, and the options that its body contained.

    `empty_detail` completes the error message for an upload without items: "there is nothing to answer: ...".
    """

    items: Iterable[JobItem]
    empty_detail: str = "no item"
    options: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON


class Decoder(Protocol):
    """A function that reads one upload.

    A task names it as `package.module:function`, because it may run in another process. Its module must not import
    a model, a handler or a web framework.
    """

    def __call__(self, task: DecodeTask) -> ItemStream:
        """Return the items of `task.upload`.

        Raises InputError, now or while the items are read, for an upload that is wrong as a whole. An item that is
        wrong on its own has a `fault` in its head.
        """
        ...


def decode(task: DecodeTask) -> DecodeResult:
    """Write the items of an upload, and remove the upload.

    Raises InputError for an upload that is wrong as a whole, OSError when the items cannot be written.
    """
    decoder: Decoder = resolve_name(task.decoder)
    stream = decoder(task)
    limits = task.limits
    with ItemWriter(task.folder, max_items=limits.max_items, max_bytes=limits.max_unpacked_bytes) as writer:
        for item in stream.items:
            writer.add(item)
        if not writer.number:
            raise InvalidInput(f"there is nothing to answer: {stream.empty_detail}", location=("body",))
    for name in (UPLOAD, FORM_FILE):
        (task.folder / name).unlink(missing_ok=True)
    return DecodeResult(writer.number, writer.size_bytes, writer.sha256, dict(stream.options))


def check_charset(content_type: str) -> None:
    """Raise UnsupportedMedia unless the text in a body of this type is UTF-8."""
    header = Message()
    header["Content-Type"] = content_type
    charset = header.get_content_charset("")
    if charset not in _UTF_8:
        raise UnsupportedMedia(f"text has to be UTF-8, not '{charset[:50]}'")

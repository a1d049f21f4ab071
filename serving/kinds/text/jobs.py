"""Jobs of texts: classify every text of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from models.card import Column
from models.errors import InvalidInput
from serving.jobs.kind import JobKind, JobSubmission
from serving.jobs.outcomes import Options, Outcome, process_each
from serving.jobs.storage.item_file import JobItem
from serving.jobs.table_submission import table_submission
from serving.kinds.text.routes import TAG, example_line, example_text
from serving.kinds.text.schemas import MAX_TEXT_CHARACTERS

if TYPE_CHECKING:
    from serving.kinds.text.handler import TextHandler

COLUMN: Final = "text"
# Small batches: a request that arrives during one waits for it.
_BATCH_ITEMS = 64


def job_kind(handler: TextHandler) -> JobKind:
    """Return the kind of job that classifies texts."""
    return JobKind(
        name=TAG,
        processor=TextProcessor(handler),
        decoder="serving.jobs.decoding.table_uploads:decode_table",
        submission=_submission(handler),
        columns=lambda: (Column(COLUMN, "text"),),
        line_bytes=lambda options: 512 + sum(32 + len(label) for label in handler.model.card.classes),
        item_labels=("id",),
        example=lambda: example_line(handler.model.card),
    )


class TextProcessor:
    """Classifies the texts of a job. A text that is too long fails alone."""

    def __init__(self, handler: TextHandler) -> None:
        self._handler = handler
        self.batch_items = min(_BATCH_ITEMS, handler.max_texts)

    async def process(self, items: Sequence[JobItem], options: Options) -> list[Outcome]:
        """Return one prediction or error per text."""
        return await process_each(items, self._classify)

    async def _classify(self, items: Sequence[JobItem]) -> list[Outcome]:
        texts = [str(item.head["row"][COLUMN]) for item in items]
        if any(len(text) > MAX_TEXT_CHARACTERS for text in texts):
            raise InvalidInput(f"{COLUMN}: a text has at most {MAX_TEXT_CHARACTERS} characters")
        response = await self._handler.classify(texts)
        return [Outcome({"status": "ok", **prediction}, response.model) for prediction in response.texts]


def _submission(handler: TextHandler) -> JobSubmission:
    return table_submission(
        id="submit_text_job",
        tag=TAG,
        summary="Classify a file of texts",
        description="CSV (UTF-8, with a header), NDJSON (`application/x-ndjson`), or Parquet, with the column `text`.",
        form_title="TextJobForm",
        csv=(
            "The header `text`, then a text in each row.",
            lambda: f"{COLUMN}\n{_quoted(example_text(handler.model.card))}\n",
        ),
    )


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'

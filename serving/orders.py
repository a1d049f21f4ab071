"""What a gateway asks of a runner beside predictions, and what it hears of its state, as JSON over one connection.

Knows paths and JSON, no frames.
"""

from __future__ import annotations

from typing import Any

import orjson

from models.errors import ArtifactError, ArtifactInvalid, ArtifactMissing, RunnerUnavailable
from serving.connection import Connection, Reply
from serving.runners import ModelRef, RunnerStatus

Json = dict[str, Any]  # Any: JSON


async def order(connection: Connection, path: str, what: Json) -> Json:
    """Have a runner change something. Raises ArtifactError with its words when it cannot, and RunnerUnavailable."""
    reply = await connection.request("POST", path, [orjson.dumps(what)], headers="content-type: application/json\r\n")
    said: Json = orjson.loads(reply.body)
    if reply.status != 200:
        kinds = {"ArtifactMissing": ArtifactMissing, "ArtifactInvalid": ArtifactInvalid}
        raise kinds.get(said.get("error", ""), ArtifactError)(
            str(said.get("message", "the version could not be loaded"))
        )
    return said


def status_in(reply: Reply) -> RunnerStatus:
    """What a reply to `GET /hop/status` says. Raises RunnerUnavailable when it is none."""
    try:
        said = orjson.loads(reply.body)
        model = said.get("model")
        return RunnerStatus(
            ready=reply.status == 200,
            model=ModelRef(str(model["name"]), str(model["version"])) if model else None,
            detail=str(said.get("detail", "")),
            versions=tuple(str(each) for each in said.get("versions", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunnerUnavailable("what listens there is no runner") from error

"""Control calls to a runner: its status, and changes of its versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from models.errors import ArtifactError, ArtifactInvalid, ArtifactMissing, RunnerUnavailable
from serving.runners.client.connection import Connection, Reply
from serving.runners.interface import ModelRef, RunnerStatus
from serving.runners.wire import RUNNER_PATH

STATUS_PATH = f"{RUNNER_PATH}status"
RELOAD_PATH = f"{RUNNER_PATH}reload"
VERSIONS_PATH = f"{RUNNER_PATH}versions"
_ERRORS: Mapping[str, type[ArtifactError]] = {"ArtifactMissing": ArtifactMissing, "ArtifactInvalid": ArtifactInvalid}

Json = dict[str, Any]  # Any: JSON


async def control_call(connection: Connection, path: str, request: Json) -> Json:
    """Send a change to a runner. Raises ArtifactError with the runner's message when it refuses, RunnerUnavailable."""
    header = "content-type: application/json\r\n"
    reply = await connection.request("POST", path, [orjson.dumps(request)], headers=header)
    response: Json = orjson.loads(reply.body)
    if reply.status != 200:
        error = _ERRORS.get(response.get("error", ""), ArtifactError)
        raise error(str(response.get("message", "the version could not be loaded")))
    return response


def parse_status(reply: Reply) -> RunnerStatus:
    """Return the status in a reply to `GET /runner/status`. Raises RunnerUnavailable for anything else."""
    if reply.status == 401:
        raise RunnerUnavailable("the runner refuses the token; set MAKUNOUCHI_RUNNER_TOKEN to that of the runner")
    try:
        response = orjson.loads(reply.body)
        model = response.get("model")
        return RunnerStatus(
            ready=reply.status == 200,
            model=ModelRef(str(model["name"]), str(model["version"])) if model else None,
            detail=str(response.get("detail", "")),
            versions=tuple(str(version) for version in response.get("versions", ())),
            faults={str(name): str(detail) for name, detail in response.get("faults", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunnerUnavailable("the server at this address is not a runner") from error

"""Control calls to a runner: its status, and changes of its models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from models.errors import ArtifactError, ArtifactInvalid, ArtifactMissing, RunnerUnavailable
from serving.runners.client.connection import Connection, Reply
from serving.runners.interface import ModelRef, RunnerStatus
from serving.runners.wire import RUNNER_PATH

STATUS_PATH = f"{RUNNER_PATH}status"
LOAD_PATH = f"{RUNNER_PATH}load"
UNLOAD_PATH = f"{RUNNER_PATH}unload"
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


def parse_status(reply: Reply) -> dict[str, RunnerStatus]:
    """Return the status of each model in a reply to `GET /runner/status`.

    Raises RunnerUnavailable for a runner that is not ready, and for anything else.
    """
    if reply.status == 401:
        raise RunnerUnavailable("the runner refuses the token; set MAKUNOUCHI_RUNNER_TOKEN to that of the runner")
    try:
        response = orjson.loads(reply.body)
        if reply.status != 200:
            raise RunnerUnavailable(str(response["detail"]) or "not ready")
        faults = {str(name): str(detail) for name, detail in response.get("faults", {}).items()}
        return {str(name): _model_status(each, faults) for name, each in response["models"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunnerUnavailable("the server at this address is not a runner") from error


def _model_status(entry: Json, faults: Mapping[str, str]) -> RunnerStatus:
    model = entry["model"]
    return RunnerStatus(
        ready=bool(entry["ready"]),
        model=ModelRef(str(model["name"]), str(model["version"])) if model else None,
        detail=str(entry["detail"]),
        versions=tuple(str(version) for version in entry["versions"]),
        faults=faults,
    )

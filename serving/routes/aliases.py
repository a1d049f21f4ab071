"""Operations on the aliases of a model: list, promote, remove."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from models.errors import ArtifactInvalid, ArtifactMissing, GateNotMet, NotKnown, StoreUnavailable
from models.store.alias_file import ALIAS_PATTERN, AliasesInvalid
from models.store.aliases import CHAMPION, AliasReport
from serving.context import current_caller
from serving.errors.problem_types import (
    BODY_FAULTS,
    DEADLINE,
    INTERNAL,
    NOT_KNOWN,
    PROMOTION_REFUSED,
    RESOURCES_UNAVAILABLE,
)
from serving.http.operation import Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON, answer, read_json
from serving.http.requests.query import model_parameter, path_parameter
from serving.schemas.aliases import Alias, AliasChange, AliasList, AliasRequest
from serving.schemas.fields import EXAMPLE_VERSION
from serving.versions.reconciler import Reconciler

PATH = "/v1/models/{name}/aliases"


def operations(reconciler: Reconciler) -> list[Operation]:
    """Return `list_aliases`, `set_alias` and `delete_alias`."""
    return [_list(reconciler), _set(reconciler), _delete(reconciler)]


def _list(reconciler: Reconciler) -> Operation:
    async def list_aliases(request: Request) -> Response:
        return answer(await run_sync(_aliases, reconciler, request.path_params["name"]))

    return Operation(
        id="list_aliases",
        method="GET",
        path=PATH,
        tag="models",
        access="read",
        summary="List the aliases of a model",
        description="Each alias with the version that it names, and its changes.",
        handler=list_aliases,
        parameters=lambda: (model_parameter(reconciler.example),),
        answer=_list_content(reconciler),
        answer_description="The aliases by name.",
        problems=(NOT_KNOWN, INTERNAL, RESOURCES_UNAVAILABLE),
    )


def _set(reconciler: Reconciler) -> Operation:
    async def set_alias(request: Request) -> Response:
        body = AliasRequest.model_validate_json(await read_json(request))
        return answer(await run_sync(_promote, reconciler, request.path_params, body, current_caller()))

    def examples() -> dict[str, Any]:
        # The example must work when a test sends it, so it names the default version.
        active = reconciler.report(reconciler.example).active
        return {"promotion": {"version": active.version if active else EXAMPLE_VERSION}}

    return Operation(
        id="set_alias",
        method="PUT",
        path=f"{PATH}/{{alias}}",
        tag="models",
        access="admin",
        summary="Let an alias name a version",
        description=(
            "Creates an alias, or moves it if the quality gate has no objection: task, classes and inputs are those of "
            "the version that it names now, and the main metric, on the same data, is not worse by more than `margin`. "
            "Models whose configured tag is the alias follow it where the store is watched, else at their next reload. "
            "Requires an admin key, in development too."
        ),
        handler=set_alias,
        parameters=lambda: _parameters(reconciler),
        body=Content(JSON, lambda: AliasRequest, examples),
        answer=Content(JSON, lambda: Alias, lambda: {"promoted": _example(reconciler)}),
        answer_description="The alias now.",
        problems=(*BODY_FAULTS, NOT_KNOWN, PROMOTION_REFUSED, INTERNAL, RESOURCES_UNAVAILABLE, DEADLINE),
    )


def _delete(reconciler: Reconciler) -> Operation:
    async def delete_alias(request: Request) -> Response:
        return answer(await run_sync(_remove, reconciler, request.path_params, current_caller()))

    return Operation(
        id="delete_alias",
        method="DELETE",
        path=f"{PATH}/{{alias}}",
        tag="models",
        access="admin",
        summary="Remove an alias of a model",
        description="The version remains, and the store keeps the alias's history.",
        handler=delete_alias,
        parameters=lambda: _parameters(reconciler),
        answer=_list_content(reconciler),
        answer_description="The remaining aliases.",
        problems=(NOT_KNOWN, INTERNAL, RESOURCES_UNAVAILABLE),
    )


def _aliases(reconciler: Reconciler, name: str) -> AliasList:
    with _readable():
        reports = reconciler.model(name).artifacts.aliases.report()
    return AliasList(name=name, aliases=[_alias(name, report) for report in reports])


def _promote(reconciler: Reconciler, path: dict[str, str], body: AliasRequest, author: str) -> Alias:
    name, alias = path["name"], path["alias"]
    aliases = reconciler.model(name).artifacts.aliases
    with _readable():
        try:
            change = aliases.promote(
                alias,
                body.version,
                author=author,
                reason=body.reason or "",
                margin=body.margin,
                is_forced=body.force,
            )
        except ArtifactMissing as error:
            raise NotKnown(str(error), location=("body", "version")) from error
        except AliasesInvalid:
            raise
        except ArtifactInvalid as error:
            raise GateNotMet(f"{error}; the alias is unchanged") from error
        return _alias(name, AliasReport(alias, change.version or "", aliases.history(alias)))


def _remove(reconciler: Reconciler, path: dict[str, str], author: str) -> AliasList:
    with _readable():
        reconciler.model(path["name"]).artifacts.aliases.remove(path["alias"], author=author)
    return _aliases(reconciler, path["name"])


@contextmanager
def _readable() -> Iterator[None]:
    """Raise StoreUnavailable where the aliases of the store cannot be read: no request is at fault."""
    try:
        yield
    except AliasesInvalid as error:
        raise StoreUnavailable(str(error)) from error


def _alias(name: str, report: AliasReport) -> Alias:
    return Alias(
        name=name,
        alias=report.alias,
        version=report.version,
        fault=report.fault or None,
        history=[AliasChange(**asdict(change)) for change in report.history],
    )


def _parameters(reconciler: Reconciler) -> tuple[JsonSchema, ...]:
    alias = path_parameter("alias", "Name of the alias.", CHAMPION)
    schema = {"type": "string", "pattern": ALIAS_PATTERN, "not": {"const": "latest"}}
    return (model_parameter(reconciler.example), alias | {"schema": schema})


def _example(reconciler: Reconciler) -> dict[str, Any]:
    change = {"version": EXAMPLE_VERSION, "action": "promote", "at": "2026-01-02T03:04:05Z", "author": "key:ci"}
    return {
        "name": reconciler.example,
        "alias": CHAMPION,
        "version": EXAMPLE_VERSION,
        "fault": None,
        "history": [change | {"reason": "", "overridden": ""}],
    }


def _list_content(reconciler: Reconciler) -> Content:
    def example() -> dict[str, Any]:
        return {"aliases": {"name": reconciler.example, "aliases": [_example(reconciler)]}}

    return Content(JSON, lambda: AliasList, example)

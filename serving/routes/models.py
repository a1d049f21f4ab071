"""Operations that list and describe models."""

from __future__ import annotations

from typing import Any

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from serving.errors.problem_types import INTERNAL, NOT_KNOWN
from serving.http.operation import Content, Operation
from serving.http.requests.json_body import JSON, resource
from serving.http.requests.query import model_parameter
from serving.routes.model_changes import state_of
from serving.schemas.aliases import ModelAlias
from serving.schemas.models import ModelDetails, ModelList, ModelVersion, details, summary
from serving.versions.catalog import CatalogEntry, ModelCatalog, default_entry, list_entries, versions_of
from serving.versions.model_changes import ModelChanges


def operations(catalog: ModelCatalog, changes: ModelChanges | None = None) -> list[Operation]:
    """Return `list_models` and `get_model`."""
    return [_list_models(catalog, changes), _get_model(catalog)]


def _list_models(catalog: ModelCatalog, changes: ModelChanges | None) -> Operation:
    def model_list() -> ModelList:
        served = changes.entries() if changes is not None else ()
        return ModelList(
            models=[_summary(entry) for entry in list_entries(catalog)],
            service=[state_of(each) for each in served],
            aliases=[
                ModelAlias(name=each.name, alias=each.alias, version=each.version, fault=each.fault or None)
                for each in catalog.aliases()
            ],
        )

    async def list_models(request: Request) -> Response:
        return resource(request, await run_sync(model_list))

    return Operation(
        id="list_models",
        method="GET",
        path="/v1/models",
        tag="models",
        access="read",
        summary="List the models",
        description="Every version of every model in the store, which one is the default, and the aliases. `service` "
        "are the models of the service, also those that could not be loaded, with the reason.",
        handler=list_models,
        answer=Content(JSON, lambda: ModelList, lambda: {"models": model_list().model_dump(mode="json")}),
        answer_description="Newest first within a name.",
        links={"get_model": {"operationId": "get_model", "parameters": {"name": "$response.body#/models/0/name"}}},
        problems=(INTERNAL,),
        is_conditional=True,
    )


def _get_model(catalog: ModelCatalog) -> Operation:
    async def get_model(request: Request) -> Response:
        return resource(request, await run_sync(_details, catalog, request.path_params["name"]))

    def example() -> dict[str, Any]:
        document: dict[str, Any] = _details(catalog, list_entries(catalog)[0].name).model_dump(mode="json")
        # An example with a thousand classes and every slice and version would be unreadable.
        for key in ("classes", "versions", "inputs"):
            document[key] = document[key][:3]
        return document | {"slices": dict(list(document["slices"].items())[:3])}

    return Operation(
        id="get_model",
        method="GET",
        path="/v1/models/{name}",
        tag="models",
        access="read",
        summary="Get a model",
        description="The card of the default version: task, schema, metrics, lineage; and the list of versions.",
        handler=get_model,
        parameters=lambda: (model_parameter(list_entries(catalog)[0].name),),
        answer=Content(JSON, lambda: ModelDetails, lambda: {"model": example()}),
        answer_description="The model's card.",
        problems=(NOT_KNOWN, INTERNAL),
        is_conditional=True,
    )


def _details(catalog: ModelCatalog, name: str) -> ModelDetails:
    versions = versions_of(catalog, name)
    entry = default_entry(versions)
    summaries = [_summary(each) for each in versions]
    return details(entry.card, version=entry.version, served=entry.served, versions=summaries)


def _summary(entry: CatalogEntry) -> ModelVersion:
    return summary(entry.card, version=entry.version, served=entry.served)

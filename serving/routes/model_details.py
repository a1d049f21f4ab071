"""Operations on parts of a model's description: metrics, parameters, versions, schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyio.to_thread import run_sync
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from models.card import Card, Metrics
from models.errors import NotKnown
from serving.errors.problem_types import INTERNAL, NOT_KNOWN, VALIDATION
from serving.http.operation import Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON, resource
from serving.http.requests.query import Query, model_parameter, parameters_of, path_parameter, read_query
from serving.schemas.fields import EXAMPLE_MODEL, EXAMPLE_VERSION
from serving.schemas.model_details import ModelMetrics, ModelParam, ModelParams, ModelSchema, ModelVersions
from serving.schemas.models import summary
from serving.versions.catalog import CatalogEntry, ModelCatalog, default_entry, list_entries, versions_of

_CLASS = "class="


class _VersionQuery(Query):
    version: str | None = Field(
        None, min_length=1, max_length=256, description="A version; the default one when omitted."
    )


class _MetricsQuery(_VersionQuery):
    filter: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="`overall`, `class`, `slice`; a name that the data was sliced by (`sex`); or a slice (`sex=male`).",
    )


def operations(catalog: ModelCatalog) -> list[Operation]:
    """Return the operations below /v1/models/{name}."""
    return [_metrics(catalog), _params(catalog), _param(catalog), _versions(catalog), _schema(catalog)]


def _metrics(catalog: ModelCatalog) -> Operation:
    def build(name: str, query: _MetricsQuery) -> ModelMetrics:
        return _filtered(_entry(catalog, name, query.version), query.filter)

    async def metrics(request: Request) -> Response:
        return resource(request, await run_sync(build, _name(request), read_query(request, _MetricsQuery)))

    return Operation(
        id="get_model_metrics",
        method="GET",
        path="/v1/models/{name}/metrics",
        tag="models",
        access="read",
        summary="Get the metrics of a model",
        description="Overall, by class and by slice; `filter` selects one of these.",
        handler=metrics,
        parameters=lambda: (_parameter(catalog), *parameters_of(_MetricsQuery, filter="overall")),
        answer=Content(
            JSON, lambda: ModelMetrics, _of_example(catalog, lambda name: build(name, _MetricsQuery(filter="overall")))
        ),
        answer_description="Metrics on held-out data.",
        problems=(NOT_KNOWN, VALIDATION, INTERNAL),
        is_conditional=True,
    )


def _params(catalog: ModelCatalog) -> Operation:
    def build(name: str, query: _VersionQuery) -> ModelParams:
        entry = _entry(catalog, name, query.version)
        return ModelParams(name=entry.name, version=entry.version, params=entry.card.params)

    async def params(request: Request) -> Response:
        return resource(request, await run_sync(build, _name(request), read_query(request, _VersionQuery)))

    return Operation(
        id="get_model_params",
        method="GET",
        path="/v1/models/{name}/params",
        tag="models",
        access="read",
        summary="Get the training parameters of a model",
        handler=params,
        parameters=lambda: (_parameter(catalog), *parameters_of(_VersionQuery)),
        answer=Content(JSON, lambda: ModelParams, _of_example(catalog, lambda name: build(name, _VersionQuery()))),
        answer_description="The training parameters.",
        problems=(NOT_KNOWN, VALIDATION, INTERNAL),
        is_conditional=True,
    )


def _param(catalog: ModelCatalog) -> Operation:
    def build(name: str, param: str, query: _VersionQuery) -> ModelParam:
        entry = _entry(catalog, name, query.version)
        params = entry.card.params
        if param not in params:
            known = ", ".join(params) or "none"
            raise NotKnown(f"no parameter '{param[:100]}' of '{name}'; known: {known}", location=("path", "param"))
        return ModelParam(name=entry.name, version=entry.version, param=param, value=params[param])

    async def get_param(request: Request) -> Response:
        param = str(request.path_params["param"])
        return resource(request, await run_sync(build, _name(request), param, read_query(request, _VersionQuery)))

    def parameters() -> tuple[JsonSchema, ...]:
        param = next(iter(_example(catalog).card.params), "seed")
        named = path_parameter("param", "Name of the parameter.", param)
        return (_parameter(catalog), named, *parameters_of(_VersionQuery))

    example = {"name": EXAMPLE_MODEL, "version": EXAMPLE_VERSION, "param": "seed", "value": 0}
    return Operation(
        id="get_model_param",
        method="GET",
        path="/v1/models/{name}/params/{param}",
        tag="models",
        access="read",
        summary="Get one training parameter of a model",
        handler=get_param,
        parameters=parameters,
        answer=Content(JSON, lambda: ModelParam, lambda: {"param": example}),
        answer_description="The parameter.",
        problems=(NOT_KNOWN, VALIDATION, INTERNAL),
        is_conditional=True,
    )


def _versions(catalog: ModelCatalog) -> Operation:
    def build(name: str) -> ModelVersions:
        entries = versions_of(catalog, name)
        summaries = [summary(each.card, version=each.version, served=each.served) for each in entries]
        return ModelVersions(name=name, versions=summaries)

    async def versions(request: Request) -> Response:
        return resource(request, await run_sync(build, _name(request)))

    return Operation(
        id="list_model_versions",
        method="GET",
        path="/v1/models/{name}/versions",
        tag="models",
        access="read",
        summary="List the versions of a model",
        handler=versions,
        parameters=lambda: (_parameter(catalog),),
        answer=Content(JSON, lambda: ModelVersions, _of_example(catalog, build)),
        answer_description="Newest first.",
        problems=(NOT_KNOWN, INTERNAL),
        is_conditional=True,
    )


def _schema(catalog: ModelCatalog) -> Operation:
    def build(name: str, query: _VersionQuery) -> ModelSchema:
        entry = _entry(catalog, name, query.version)
        card = entry.card
        return ModelSchema(
            name=entry.name,
            version=entry.version,
            task=card.task,
            inputs=list(card.inputs),
            outputs=list(card.outputs),
            classes=list(card.classes),
            input_schema=dict(card.code.input) if card.code else None,
            output_schema=dict(card.code.output) if card.code else None,
        )

    async def schema(request: Request) -> Response:
        return resource(request, await run_sync(build, _name(request), read_query(request, _VersionQuery)))

    return Operation(
        id="get_model_schema",
        method="GET",
        path="/v1/models/{name}/schema",
        tag="models",
        access="read",
        summary="Get the inputs and outputs of a model",
        handler=schema,
        parameters=lambda: (_parameter(catalog), *parameters_of(_VersionQuery)),
        answer=Content(JSON, lambda: ModelSchema, _of_example(catalog, lambda name: build(name, _VersionQuery()))),
        answer_description="Inputs, outputs, classes.",
        problems=(NOT_KNOWN, VALIDATION, INTERNAL),
        is_conditional=True,
    )


def _of_example(catalog: ModelCatalog, build: Callable[[str], BaseModel]) -> Callable[[], Mapping[str, Any]]:
    """Return the examples of a response: what `build` returns for the model that the document uses as its example."""

    def examples() -> Mapping[str, Any]:
        document: dict[str, Any] = build(_example(catalog).name).model_dump(mode="json")
        if "classes" in document and isinstance(document["classes"], list):
            document["classes"] = document["classes"][:3]
        return {"model": document}

    return examples


def _filtered(entry: CatalogEntry, filter_: str | None) -> ModelMetrics:
    overall: Metrics = entry.card.metrics
    classes, slices = _by_class(entry.card)
    notes = [entry.card.description] if entry.card.description else []
    if not classes and filter_ in (None, "class"):
        notes.append(_no_classes(entry.card))
    if filter_ in ("class", "slice", "overall"):
        overall = overall if filter_ == "overall" else {}
        classes = classes if filter_ == "class" else {}
        slices = slices if filter_ == "slice" else {}
    elif filter_ is not None:
        known = entry.card.slices
        matches = {name for name in known if filter_ in (name, name.partition("=")[0])}
        if not matches:
            by = ", ".join(sorted({name.partition("=")[0] for name in known} | {"overall", "class", "slice"}))
            raise NotKnown(f"no metrics by '{filter_[:100]}'; known: {by}", location=("query", "filter"))
        overall = {}
        classes = {name: each for name, each in classes.items() if _CLASS + name in matches}
        slices = {name: each for name, each in slices.items() if name in matches}
    return ModelMetrics(
        name=entry.name, version=entry.version, overall=overall, classes=classes, slices=slices, notes=notes
    )


def _by_class(card: Card) -> tuple[dict[str, Metrics], dict[str, Metrics]]:
    """Return the metrics by class, and all others: a column may be called `class` too."""
    keys = {f"{_CLASS}{name}": name for name in card.classes}
    classes = {keys[key]: each for key, each in card.slices.items() if key in keys}
    return classes, {key: each for key, each in card.slices.items() if key not in keys}


def _no_classes(card: Card) -> str:
    if not card.classes:
        return f"Not measured by class: {card.task} has no classes."
    return "Not measured by class: the evaluation data is not labelled with each of the classes."


def _entry(catalog: ModelCatalog, name: str, version: str | None) -> CatalogEntry:
    versions = versions_of(catalog, name)
    if version is None:
        return default_entry(versions)
    for entry in versions:
        if entry.version == version:
            return entry
    known = ", ".join(entry.version for entry in versions[:20])
    raise NotKnown(f"no version '{version[:100]}' of '{name}'; known: {known}", location=("query", "version"))


def _example(catalog: ModelCatalog) -> CatalogEntry:
    entries = list_entries(catalog)
    with_params = [entry for entry in entries if entry.card.params]
    return (with_params or entries)[0]


def _name(request: Request) -> str:
    return str(request.path_params["name"])


def _parameter(catalog: ModelCatalog) -> JsonSchema:
    return model_parameter(_example(catalog).name)

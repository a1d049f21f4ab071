"""An operation of the API: the single description of its route and of its part of the OpenAPI document.

Routes are Starlette's, not FastAPI's: the types of some operations follow the card of the served model, which can
change at run time, and the signature of a FastAPI endpoint cannot.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.access.guard import Guard
from serving.access.roles import Access
from serving.context import VERSION_HEADER, set_version_request
from serving.errors.problem_types import BODY_FAULTS, CALL_FAILURES, INTERNAL, ProblemType
from serving.http.encoded_path import EncodedPathRoute
from serving.http.priority import set_priority_of
from serving.http.problem_details import problem_of
from serving.http.representation import check_if_match
from serving.http.requests.json_body import NO_CACHE, PRIVATE_NO_CACHE
from serving.http.requests.query import check_parameters
from serving.http.response_cache import ResponseCache
from serving.http.version_selection import version_request_of
from serving.runners.interface import ModelRef

Handler = Callable[[Request], Awaitable[Response]]
JsonSchema = dict[str, Any]  # Any: JSON
# A pydantic type, or a JSON schema whose `title` is its name.
Schema = type[BaseModel] | TypeAdapter[Any] | JsonSchema

CALL_PROBLEMS = (*BODY_FAULTS, *CALL_FAILURES)


@dataclass(frozen=True, slots=True)
class Content:
    """A request or response body: its media type, its current schema, and examples by name.

    `refine` adapts the JSON schemas of the components to the served model, in place.
    """

    media_type: str
    schema: Callable[[], Schema]
    examples: Callable[[], Mapping[str, Any]] = dict  # Any: JSON
    encoding: Mapping[str, Any] = field(default_factory=dict)
    refine: Callable[[dict[str, JsonSchema]], None] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation. Generated clients name their methods by `id`; `access` is the access that it requires."""

    id: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    tag: str
    summary: str
    handler: Handler
    answer: Content | None
    answer_description: str
    access: Access = "predict"
    description: str = ""
    body: Content | None = None
    more_bodies: tuple[Content, ...] = ()
    # Query parameters that are read and not described: those of other forms of the body.
    more_parameters: tuple[str, ...] = ()
    more_answers: tuple[Content, ...] = ()
    parameters: Callable[[], tuple[JsonSchema, ...]] = tuple
    problems: tuple[ProblemType, ...] = (INTERNAL,)
    # Additional headers of some responses.
    answer_headers: tuple[str, ...] = ()
    is_body_optional: bool = False
    # The model that answers, if responses are cacheable: equal requests to one version have equal responses.
    answered_by: Callable[[], ModelRef | None] | None = None
    is_conditional: bool = False
    # Whether responses differ by caller even where no key is required: shared caches must not store them.
    is_private: bool = False
    # Whether a request can select the model version.
    takes_version: bool = False
    status: int = 200
    # Other statuses of a success, without a body, and their descriptions.
    more_statuses: Mapping[int, str] = field(default_factory=dict)
    # Other statuses of a success, with the same body.
    more_answer_statuses: Mapping[int, str] = field(default_factory=dict)
    links: Mapping[str, JsonSchema] = field(default_factory=dict)
    # The model that it is of, where each model has such an operation.
    model: str = ""

    @property
    def template(self) -> str:
        """The path with a parameter in the place of the model's name; the path where the name is not in it."""
        return self.path.replace(f"/models/{self.model}/", "/models/{name}/", 1) if self.model else self.path

    @property
    def is_at_model(self) -> bool:
        """Whether the name of the model is in the path, so that operations of other models have the same template."""
        return self.template != self.path

    def route(self, guard: Guard | None = None, cache: ResponseCache | None = None) -> Route:
        """Return the route of this operation; see `endpoint`."""
        return EncodedPathRoute(self.path, self.endpoint(guard, cache), methods=[self.method], name=self.id)

    def endpoint(self, guard: Guard | None = None, cache: ResponseCache | None = None) -> Handler:
        """Return what answers requests. `guard` checks a request before its body is read.

        Without a guard everything except administration is open. Exceptions become problem documents.
        """
        handler, access = self.handler, self.access
        guard = guard or Guard()
        name, answered_by, calls_model = self.id, self.answered_by, self.calls_model
        # Only responses to GET are stored by clients and proxies.
        varies = self.takes_version and self.method == "GET"
        is_private = self.is_private or guard.required_role(access) is not None

        async def endpoint(request: Request) -> Response:
            try:
                await guard.admit(request.scope, access)
                if self.has_preconditions and "if-match" in request.headers:
                    check_if_match(request)
                set_version_request(version_request_of(request.scope, guard))
                if calls_model:
                    set_priority_of(request.scope)
                if request.scope["query_string"]:
                    check_parameters(request, self._query_names())
                if cache is None or answered_by is None:
                    response = await handler(request)
                else:
                    response = await cache.answer(request, name, answered_by(), lambda: handler(request))
            except Exception as error:
                response = problem_of(error, instance=request.scope["path"])
            if varies:
                response.headers.add_vary_header(VERSION_HEADER)
            if is_private and response.headers.get("cache-control") == NO_CACHE:
                response.headers["Cache-Control"] = PRIVATE_NO_CACHE
            return guard.with_limit_headers(request.scope, response)

        return endpoint

    @property
    def has_preconditions(self) -> bool:
        """Whether the operation depends on the state of a resource, so that `If-Match` is evaluated."""
        return self.is_conditional or self.method in ("PUT", "DELETE")

    @property
    def calls_model(self) -> bool:
        """Whether a request calls a model, so that it has a priority."""
        return set(CALL_FAILURES) <= set(self.problems)

    def _query_names(self) -> list[str]:
        return [*(each["name"] for each in self.parameters() if each["in"] == "query"), *self.more_parameters]

    def native(self) -> Operation:
        """Return this operation at the path that BentoML's clients call, which is named after the method."""
        return replace(
            self,
            id=f"bentoml_{self.id}",
            path=f"/{self.id}",
            tag="bentoml",
            description=f"Same as `{self.id}`, at the path that BentoML's clients call. {self.description}".strip(),
        )

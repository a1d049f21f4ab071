"""One operation of the API: its route, and all that the OpenAPI document tells of it. One place for both.

Routes are Starlette's, not FastAPI's: the tabular call's types follow the card while the service runs, which a FastAPI
signature cannot.
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
from serving.http.problem_details import problem_of
from serving.http.response_cache import ResponseCache
from serving.http.version_selection import version_request_of
from serving.runners.interface import ModelRef

Handler = Callable[[Request], Awaitable[Response]]
JsonSchema = dict[str, Any]  # Any: JSON
# A pydantic type; or a schema written out, under the name that its `title` gives.
Schema = type[BaseModel] | TypeAdapter[Any] | JsonSchema

CALL_PROBLEMS = (*BODY_FAULTS, *CALL_FAILURES)


@dataclass(frozen=True, slots=True)
class Content:
    """A body, sent or answered: its media type, its schema now, and an example by name.

    `refine` changes the finished JSON schemas of the components in place, by what is known of the model served now.
    """

    media_type: str
    schema: Callable[[], Schema]
    examples: Callable[[], Mapping[str, Any]] = dict  # Any: JSON
    encoding: Mapping[str, Any] = field(default_factory=dict)
    refine: Callable[[dict[str, JsonSchema]], None] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """What can be called. `id` is what a generated client names its method; `access` is what it asks of a caller."""

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
    more_answers: tuple[Content, ...] = ()
    parameters: Callable[[], tuple[JsonSchema, ...]] = tuple
    problems: tuple[ProblemType, ...] = (INTERNAL,)
    # Headers that some of its answers have beside those that all have.
    answer_headers: tuple[str, ...] = ()
    is_body_optional: bool = False
    # The model that answers now, where the same request to the same version is answered the same: it may be cached.
    answered_by: Callable[[], ModelRef | None] | None = None
    is_conditional: bool = False
    # Whether a caller may say which version of the model answers.
    takes_version: bool = False
    status: int = 200
    links: Mapping[str, JsonSchema] = field(default_factory=dict)

    def route(self, guard: Guard | None = None, cache: ResponseCache | None = None) -> Route:
        """The route that answers this operation, to those whom `guard` lets in, before anything of a body is read.

        Without one everything but administration is open. Whatever its handler raises becomes a problem document.
        """
        handler, access = self.handler, self.access
        guard = guard or Guard()
        name, answered_by = self.id, self.answered_by
        # What may be kept by a client or on the way: answers to POST never are.
        varies = self.takes_version and self.method == "GET"

        async def endpoint(request: Request) -> Response:
            try:
                await guard.admit(request.scope, access)
                set_version_request(version_request_of(request.scope, guard))
                if cache is None or answered_by is None:
                    response = await handler(request)
                else:
                    response = await cache.answer(request, name, answered_by(), lambda: handler(request))
            except Exception as error:
                response = problem_of(error, instance=request.scope["path"])
            if varies:
                response.headers.add_vary_header(VERSION_HEADER)
            return guard.marked(request.scope, response)

        return EncodedPathRoute(self.path, endpoint, methods=[self.method], name=self.id)

    def native(self) -> Operation:
        """The same operation where BentoML's own clients look for it: a path named after the method."""
        return replace(
            self,
            id=f"bentoml_{self.id}",
            path=f"/{self.id}",
            tag="bentoml",
            description=f"The same as `{self.id}`, at the path that BentoML's clients call. {self.description}".strip(),
        )

"""The header `traceparent` in the request context."""

from __future__ import annotations

import pytest
from starlette.types import Receive, Scope, Send

from serving.context import current_context
from serving.http.middleware.timeout import Timeout
from tests.serving.event_loop import in_loop

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("values", "expected"),
    [([TRACE], TRACE), (["cc" + TRACE[2:] + "-more"], "cc" + TRACE[2:] + "-more"), ([], ""),
     ([TRACE] * 2, ""), ([TRACE] * 3, ""),
     (["ff" + TRACE[2:]], ""), ([TRACE.upper()], ""), (["00-" + "0" * 32 + TRACE[35:]], ""), ([TRACE[:-1]], ""),
     (["x" * 60_000], "")],
)  # fmt: skip
def test_an_invalid_traceparent_is_ignored(values: list[str], expected: str) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(current_context().traceparent)

    async def nothing(*message: object) -> None: ...

    @in_loop
    async def run() -> None:
        scope = {"type": "http", "path": "/", "headers": [(b"traceparent", value.encode()) for value in values]}
        await Timeout(app, timeout_s=5)(scope, nothing, nothing)  # type: ignore[arg-type]  # it is not called

    run()
    assert seen == [expected]

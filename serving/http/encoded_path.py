"""A route whose parameters may hold a slash, sent as %2F. Knows paths, no operation.

Servers decode the path before it is routed, and an id `a/b` then looks like two steps.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from starlette.routing import Match, Route
from starlette.types import Scope

_SLASH = "%2f"


class EncodedPathRoute(Route):
    """Matches a path that has %2F in it as it was sent, and decodes the parameters afterwards."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        sent = scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1")
        if scope["type"] != "http" or _SLASH not in sent.lower():
            return super().matches(scope)
        # Steps are decoded one by one, so that what else is encoded does not matter to the pattern.
        steps = (quote(unquote(step), safe="") for step in sent.split("/"))
        match, found = super().matches({**scope, "path": "/".join(steps)})
        if match is not Match.NONE:
            found["path_params"] = {name: unquote(value) for name, value in found["path_params"].items()}
        return match, found

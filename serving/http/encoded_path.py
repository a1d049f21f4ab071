"""A route whose path parameters may contain a slash, sent as %2F.

Servers decode the path before routing, so an encoded id `a/b` would match as two segments.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from starlette.routing import Match, Route
from starlette.types import Scope

_SLASH = "%2f"


class EncodedPathRoute(Route):
    """A route that matches a path with %2F in its encoded form, and then decodes the parameters."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        sent = scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1")
        if scope["type"] != "http" or _SLASH not in sent.lower():
            return super().matches(scope)
        # Segments are normalized one by one: the pattern must match whatever else the client encoded.
        segments = (quote(unquote(segment), safe="") for segment in sent.split("/"))
        match, child_scope = super().matches({**scope, "path": "/".join(segments)})
        if match is not Match.NONE:
            params = child_scope["path_params"]
            child_scope["path_params"] = {name: unquote(value) for name, value in params.items()}
        return match, child_scope

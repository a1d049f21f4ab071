"""Set the public URL of a request, by which responses name other resources, from the headers of trusted proxies."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.access.client_address import forwarded_url, trusted_networks
from serving.context import DIRECT, set_public_url


class PublicUrls:
    """Middleware that sets the public URL in the context. Without `trusted` networks it is DIRECT."""

    def __init__(self, app: ASGIApp, *, trusted: Sequence[str]) -> None:
        self._app = app
        self._trusted = trusted_networks(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            # Always, because uvicorn starts a pipelined request in the context of the one before it.
            set_public_url(forwarded_url(scope, self._trusted) if self._trusted else DIRECT)
        await self._app(scope, receive, send)

"""The runner's side: loaded versions, batch methods and the ASGI application."""

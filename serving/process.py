"""Set-up of a serving process that neither a request nor a model owns: its logs. Called once, at start."""

from __future__ import annotations

import logging


def set_up_logs(level: str) -> None:
    """Let the platform's loggers through at `level`, and keep uvicorn from formatting an access line of its own."""
    logging.getLogger("makunouchi").setLevel(level)
    # uvicorn asks its access logger whether anybody listens, once per connection; BentoML's root handler would.
    logging.getLogger("uvicorn.access").propagate = False

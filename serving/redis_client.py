"""The connection to Redis that limits and cache share. Nothing is connected before it is used."""

from __future__ import annotations

import functools
from typing import Any

CONNECT_S = 0.2
ANSWER_S = 1.0


@functools.cache
def connect(url: str) -> Any:  # Any: redis is imported only where it is used
    """A `redis.asyncio.Redis` for `url`, the same for the same one."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_S,
        socket_timeout=ANSWER_S,
        # Once at once, for a connection that was idle too long; the caller knows what to do without an answer.
        retry=Retry(NoBackoff(), 1),
        health_check_interval=0,
    )

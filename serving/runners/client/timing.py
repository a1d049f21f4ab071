"""Intervals and time limits of the connection to a runner.

Modules read them as attributes of this module, so that tests can change them.
"""

from __future__ import annotations

# To connect to a runner and read its status.
CONNECT_TIMEOUT_S: float = 1.0
# The same while the runner is down: the connection may be the first in its backlog that it accepts.
RECOVERY_TIMEOUT_S: float = 5.0
RETRY_EVERY_S: float = 0.2
# How long a call that has lost its runner waits for the process that replaces it: a start takes 3 s, under load 13 s.
REPLACEMENT_TIMEOUT_S: float = 15.0
# What a call must have left to be sent again; otherwise its caller gets 503 with Retry-After, not 504.
RETRY_MARGIN_S: float = 0.2
PING_EVERY_S: float = 1.0
PING_TIMEOUT_S: float = 3.0
# How often the model must answer its example: `ready` means that it answers now, not that it once did.
EXAMPLE_EVERY_S: float = 10.0
EXAMPLE_TIMEOUT_S: float = 3.0

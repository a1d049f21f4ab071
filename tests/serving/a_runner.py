"""`python -m tests.serving.a_runner SOCKET`: a runner alone in its process, to be stopped and killed."""

from __future__ import annotations

import asyncio
import sys

from tests.serving.models_of_tests import SumsRunner
from tests.serving.runner_servers import RunnerServer, listening, warm


async def main(path: str) -> None:
    """Serve until killed."""
    async with listening(RunnerServer(await warm(SumsRunner(), "predict")), uds=path):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

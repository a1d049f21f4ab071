"""`python -m tests.serving.runners.runner_process SOCKET`: a runner alone in its process, to be stopped and killed."""

from __future__ import annotations

import asyncio
import sys

from tests.serving.runners.runner_servers import RunnerServer, listening, warm
from tests.serving.runners.sum_predictors import SumsRunner


async def main(path: str) -> None:
    """Serve until killed."""
    async with listening(RunnerServer(await warm(SumsRunner(), "predict")), uds=path):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""Process 1 of the container image: `bentoml serve` without the command line's other parts.

    python -m serving.process.supervisor BENTO

The services themselves set up the supervision of their processes (`serving/process/arbiter.py`).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the command line. As with `bentoml serve`, the environment may define host and port."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.process.supervisor", description=(__doc__ or "").partition("`")[0]
    )
    parser.add_argument("bento", help="argument of `bentoml serve`: the folder of a Bento, or service:Gateway")
    parser.add_argument("--host", default=os.environ.get("BENTOML_HOST"))
    port = os.environ.get("PORT") or os.environ.get("BENTOML_PORT")
    parser.add_argument("--port", type=int, default=port)
    options = parser.parse_args()
    serve(options.bento, host=options.host, port=options.port)


def serve(bento: str, *, host: str | None, port: int | None) -> None:
    """Serve until a stop signal. Exit with status 1 when a process cannot start."""
    from _bentoml_impl.server import serve_http  # type: ignore[import-untyped]
    from bentoml._internal.log import configure_server_logging
    from bentoml._internal.service.loader import load
    from bentoml.exceptions import BentoMLException

    configure_server_logging()  # type: ignore[no-untyped-call]
    folder = bento if Path(bento).is_dir() else "."
    if sys.path[0] != folder:
        sys.path.insert(0, folder)
    try:
        service: Any = load(bento_identifier=bento, working_dir=folder)  # Any: legacy services have another class
        service.inject_config()
        serve_http(bento, working_dir=folder, host=host, port=port)
    except BentoMLException as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

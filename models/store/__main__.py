"""Commands of the model store: `python -m models.store --help`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from models.errors import PlatformError
from models.store.sources.command import add_fetch


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. An error is printed in one line and exits with status 1."""
    parser = argparse.ArgumentParser(prog="python -m models.store", description="Commands of the model store.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    add_fetch(subparsers)
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        parsed.run(parsed)
    except (PlatformError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: run the command again to continue")


if __name__ == "__main__":
    main()

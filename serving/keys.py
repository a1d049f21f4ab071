"""Make API keys: `python -m serving.keys`."""

from __future__ import annotations

import sys

from models.errors import SettingsInvalid
from serving.access.api_keys import main

if __name__ == "__main__":
    try:
        main()
    except SettingsInvalid as error:
        sys.exit(f"error: {error}")

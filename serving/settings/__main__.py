"""Print the settings with their effective values: `python -m serving.settings`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from models.errors import SettingsInvalid
from serving.access.production_checks import setting_faults
from serving.kinds.registry import ServiceSettings
from serving.settings.loading import load_settings
from serving.settings.model_list import list_file, read_model_list
from serving.settings.settings import PREFIX


def main(arguments: Sequence[str] | None = None) -> None:
    """Print name, value and description of every setting, and the model list; with `--markdown` the reference page."""
    from serving.settings.reference import displayed, markdown

    if "--markdown" in (sys.argv[1:] if arguments is None else arguments):
        sys.stdout.write(markdown(ServiceSettings))
        return
    settings = load_settings(ServiceSettings, setting_faults)
    for name, field in ServiceSettings.model_fields.items():
        sys.stdout.write(f"# {field.description}\n{PREFIX}{name.upper()}={displayed(getattr(settings, name))}\n")
    file = list_file(settings, Path.cwd())
    if file is not None:
        sys.stdout.write(f"\n# The model list: {file.name}\n")
        for entry in read_model_list(file):
            sys.stdout.write(f"[{entry.name}]\n")
            for key, value in entry.spec().items():
                if key not in ("name", "options"):
                    sys.stdout.write(f"{key} = {json.dumps(value)}\n")
            for key, value in entry.options.items():
                sys.stdout.write(f"{key} = {json.dumps(value)}\n")


if __name__ == "__main__":
    try:
        main()
    except SettingsInvalid as error:
        sys.exit("\n".join(f"error: {fault}" for fault in str(error).splitlines()))

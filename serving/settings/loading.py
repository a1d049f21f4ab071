"""Read the settings from the environment and from a file."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import SettingsError

from models.errors import SettingsInvalid
from serving.access.production_checks import check_protection
from serving.settings.settings import PREFIX, Settings

# Read by the Makefile and by training, not by the service: known names, so that the unknown-name check passes them.
_OUTSIDE_SERVICE = frozenset({"MAKUNOUCHI_CACHE", "MAKUNOUCHI_ENV_FILE"})


def load_settings() -> Settings:
    """Read the settings from the environment, and from the file that `MAKUNOUCHI_ENV_FILE` names.

    Raises SettingsInvalid that names the setting, when one is unknown or unusable.
    """
    env_file = os.environ.get("MAKUNOUCHI_ENV_FILE")
    if env_file and not Path(env_file).is_file():
        raise SettingsInvalid("MAKUNOUCHI_ENV_FILE names a file that does not exist")
    known = {PREFIX + name.upper() for name in Settings.model_fields} | _OUTSIDE_SERVICE
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise SettingsInvalid(_of_unknown(name))
    try:
        settings = Settings(_env_file=env_file)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0])
        if field not in Settings.model_fields:  # as the file has it
            raise SettingsInvalid(f"in the file of MAKUNOUCHI_ENV_FILE: {_of_unknown(field.upper())}") from error
        raise SettingsInvalid(
            f"setting {PREFIX}{field.upper()}: {first['msg'].removeprefix('Value error, ')}"
        ) from error
    except SettingsError as error:
        # pydantic-settings names the field in its message alone.
        field = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "")
        raise SettingsInvalid(
            f'setting {PREFIX}{field.upper()}: a JSON list is expected, such as ["one", "another"]'
        ) from error
    check_protection(settings)
    return settings


def _of_unknown(name: str) -> str:
    near = difflib.get_close_matches(
        name.upper().removeprefix(PREFIX), [each.upper() for each in Settings.model_fields], 1
    )
    return f"unknown setting {name}; " + (f"is {PREFIX}{near[0]} meant?" if near else "see: python -m serving.settings")

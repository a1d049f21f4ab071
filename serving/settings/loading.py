"""Load the settings from the environment and a file."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import SettingsError

from models.errors import SettingsInvalid
from serving.settings.settings import PREFIX, Settings

# Read by the Makefile, by training and here, but not fields of Settings.
_OUTSIDE_SERVICE = frozenset({"MAKUNOUCHI_CACHE", "MAKUNOUCHI_ENV_FILE"})


S = TypeVar("S", bound=Settings)


def load_settings(settings_type: type[S]) -> S:
    """Return the settings of `settings_type` from the environment and the file that `MAKUNOUCHI_ENV_FILE` names.

    Raises SettingsInvalid with the name of an unknown or invalid setting.
    """
    env_file = os.environ.get("MAKUNOUCHI_ENV_FILE")
    if env_file and not Path(env_file).is_file():
        raise SettingsInvalid("setting MAKUNOUCHI_ENV_FILE: the file does not exist")
    known = {PREFIX + name.upper() for name in settings_type.model_fields} | _OUTSIDE_SERVICE
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise SettingsInvalid(_unknown_setting(name, settings_type))
    try:
        settings = settings_type(_env_file=env_file)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0])
        if field not in settings_type.model_fields:  # the name in the file, in lower case
            raise SettingsInvalid(
                f"in the file of MAKUNOUCHI_ENV_FILE: {_unknown_setting(field.upper(), settings_type)}"
            ) from error
        raise SettingsInvalid(
            f"setting {PREFIX}{field.upper()}: {first['msg'].removeprefix('Value error, ')}"
        ) from error
    except SettingsError as error:
        # pydantic-settings names the field only in its message.
        field = next((name for name in settings_type.model_fields if f'"{name}"' in str(error)), "")
        raise SettingsInvalid(
            f'setting {PREFIX}{field.upper()}: expected a JSON list, such as ["one", "another"]'
        ) from error
    return settings


def _unknown_setting(name: str, settings_type: type[Settings]) -> str:
    names = [each.upper() for each in settings_type.model_fields]
    similar = difflib.get_close_matches(name.upper().removeprefix(PREFIX), names, 1)
    hint = f"did you mean {PREFIX}{similar[0]}?" if similar else "see: python -m serving.settings"
    return f"unknown setting {name}; {hint}"

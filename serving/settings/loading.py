"""Load the settings from the environment and a file."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from models.errors import SettingsInvalid
from serving.settings.settings import PREFIX, Settings

# Read by the Makefile, by training and here, but not fields of Settings.
_OUTSIDE_SERVICE = frozenset({"MAKUNOUCHI_CACHE", "MAKUNOUCHI_ENV_FILE"})
# Kubernetes sets them in every pod of a namespace with a Service called `makunouchi`, in the form of Docker's links.
_SERVICE_LINK: Final = re.compile(
    PREFIX + r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.IGNORECASE
)


S = TypeVar("S", bound=Settings)


def load_settings(settings_type: type[S], *checks: Callable[[S], Iterable[str]]) -> S:
    """Return the settings of `settings_type` from the environment and the file that `MAKUNOUCHI_ENV_FILE` names.

    `checks` return the faults of settings that are valid one by one. Raises SettingsInvalid with all faults, one per
    line.
    """
    env_file = os.environ.get("MAKUNOUCHI_ENV_FILE")
    if env_file and not Path(env_file).is_file():
        raise SettingsInvalid("setting MAKUNOUCHI_ENV_FILE: the file does not exist")
    known = {PREFIX + name.upper() for name in settings_type.model_fields} | _OUTSIDE_SERVICE
    faults = [
        _unknown_setting(name, settings_type)
        for name in os.environ
        if name.upper().startswith(PREFIX) and name.upper() not in known and not _SERVICE_LINK.fullmatch(name)
    ]
    invalid: set[str] = set()
    try:
        settings = settings_type(_env_file=env_file)
    except ValidationError as error:
        invalid = {str(fault["loc"][0]) for fault in error.errors()}
        faults += _invalid_settings(error, settings_type)
        if invalid - settings_type.model_fields.keys():
            raise SettingsInvalid("\n".join(faults)) from error
        # The others are checked too, with the defaults of these.
        defaults = {name: settings_type.model_fields[name].default for name in invalid}
        settings = settings_type(_env_file=env_file, **defaults)
    found = [fault for check in checks for fault in check(settings)]
    faults += [fault for fault in found if not any(PREFIX + name.upper() in fault for name in invalid)]
    if faults:
        raise SettingsInvalid("\n".join(faults))
    return settings


def _invalid_settings(error: ValidationError, settings_type: type[Settings]) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_input=False):
        field = str(fault["loc"][0])
        if field in settings_type.model_fields:
            yield f"setting {PREFIX}{field.upper()}: {fault['msg'].removeprefix('Value error, ')}"
        else:  # the name in the file, in lower case
            yield f"in the file of MAKUNOUCHI_ENV_FILE: {_unknown_setting(field.upper(), settings_type)}"


def _unknown_setting(name: str, settings_type: type[Settings]) -> str:
    names = [each.upper() for each in settings_type.model_fields]
    similar = difflib.get_close_matches(name.upper().removeprefix(PREFIX), names, 1)
    hint = f"did you mean {PREFIX}{similar[0]}?" if similar else "see: python -m serving.settings"
    return f"unknown setting {name}; {hint}"

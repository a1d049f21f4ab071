"""Create algorithms by name, with hyperparameters from the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from models.errors import DataInvalid, InvalidInput
from models.recommender.registry import ALGORITHMS, AnyAlgorithm


def hyperparameters(name: str) -> Mapping[str, object]:
    """Return the hyperparameters of an algorithm and their defaults. Raises DataInvalid for an unknown name."""
    try:
        kind = ALGORITHMS.find(name)
    except InvalidInput as error:
        raise DataInvalid(str(error)) from error
    return {field.name: field.default for field in dataclasses.fields(kind.params_type)}


def create(
    name: str,
    settings: Sequence[str],
    *,
    among: Sequence[str],
    chosen: Mapping[str, object] | None = None,
) -> AnyAlgorithm:
    """Return an unfitted algorithm with the hyperparameters `chosen`, overridden by its `settings`.

    A setting is ALGORITHM.NAME=VALUE; its algorithm is one of `among`. Raises DataInvalid.
    """
    known = hyperparameters(name)
    values = dict(chosen or {})
    for setting in settings:
        target, _, value = setting.partition("=")
        owner, _, key = target.rpartition(".")
        if not owner or not value:
            raise DataInvalid(f"--set {setting}: ALGORITHM.NAME=VALUE is expected, such as als.factors=64")
        if owner not in among:
            raise DataInvalid(f"--set {setting}: '{owner}' is not among --algorithms {','.join(among)}")
        if owner == name:
            values[key] = _value(value, is_list=isinstance(known.get(key), tuple))
    for key in values.keys() & known.keys():
        _check_value(f"{name}.{key}", values[key], known[key])
    try:
        return ALGORITHMS.create(name, values)
    except InvalidInput as error:
        raise DataInvalid(str(error)) from error


def _value(text: str, *, is_list: bool) -> object:
    if is_list:
        return tuple(_value(part, is_list=False) for part in text.split("+"))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _check_value(name: str, value: object, default: object) -> None:
    """Raise DataInvalid for a value of another type than the default, or out of range.

    A count, which has a default of at least 1, must be at least 1. A number with a default of at least 0 must not be
    negative.
    """
    if isinstance(default, tuple) or isinstance(value, tuple):
        return
    if isinstance(default, str):
        if not isinstance(value, str):
            raise DataInvalid(f"{name} is {value}: text is expected, such as {default}")
        return
    if not isinstance(value, int if isinstance(default, int) else (int, float)):
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise DataInvalid(f"{name} is {value}: {kind} is expected, such as {default}")
    if isinstance(default, int) and default >= 1 and value < 1:
        raise DataInvalid(f"{name} is {value}; it must be at least 1")
    if isinstance(default, (int, float)) and default >= 0 and not value >= 0:
        raise DataInvalid(f"{name} is {value}; it must not be below 0")

"""Build a command line from a frozen dataclass: one option per field, with its default and help text.

@dataclass(frozen=True)
class Params:
    epochs: int = option(10, "passes over the training data")
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from models.errors import PlatformError

P = TypeVar("P")
_HELP = "help"


def option(
    default: Any, help_text: str, *, choices: Sequence[str] = ()
) -> Any:  # Any: the default of a field of any type
    """Return a dataclass field that `parse` turns into a command line option."""
    return dataclasses.field(default=default, metadata={_HELP: help_text, "choices": tuple(choices)})


def parse(params: type[P], *, description: str, arguments: Sequence[str] | None = None) -> P:
    """Parse the command line into `params`. `--help` lists every field; an invalid value exits with status 2."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    hints = typing.get_type_hints(params)
    for field in dataclasses.fields(params):  # type: ignore[arg-type]  # P is a dataclass by contract
        _add_option(parser, field, hints[field.name])
    return params(**vars(parser.parse_args(arguments)))


def run(main: Callable[[P], object], params: type[P], *, description: str) -> None:
    """Parse the command line and call `main`.

    A PlatformError, or an OSError such as a full disk, is printed in one line and exits with status 1.
    """
    parsed = parse(params, description=description)
    try:
        main(parsed)
    except (PlatformError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing was saved")


def _add_option(parser: argparse.ArgumentParser, field: dataclasses.Field[Any], hint: Any) -> None:
    # A field may end with an underscore, where its name is a word of Python: `class_`.
    plain = field.name.rstrip("_")
    add = functools.partial(
        parser.add_argument,
        "--" + plain.replace("_", "-"),
        dest=field.name,
        default=field.default,
        help=field.metadata[_HELP],
    )
    type_ = _plain_type(hint)
    if type_ is bool:
        add(action=argparse.BooleanOptionalAction)
        return
    if typing.get_origin(type_) is tuple:
        inner = typing.get_args(type_)[0]
        add(type=lambda text: tuple(inner(part) for part in text.split(",") if part), metavar="A,B")
        return
    metavar = {int: "N", float: "X", Path: "PATH"}.get(type_, plain.upper())
    choices = field.metadata.get("choices") or None
    if typing.get_origin(type_) is Literal:
        type_, choices = str, typing.get_args(type_)
    add(type=type_, choices=choices, metavar=None if choices else metavar)


def _plain_type(hint: Any) -> Any:
    """Return X for `X | None`."""
    if isinstance(hint, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint

"""A command line made from a frozen dataclass: one option per field, its default and its help shown.

    @dataclass(frozen=True)
    class Params:
        epochs: int = option(10, "passes over the training data")

Knows argparse and dataclasses, no model.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from models.errors import PlatformError

P = TypeVar("P")
_HELP = "help"


def option(default: Any, help_text: str, *, choices: Sequence[str] = ()) -> Any:  # Any: stands in for any field's value
    """A dataclass field that `parse` turns into a command-line option."""
    return dataclasses.field(default=default, metadata={_HELP: help_text, "choices": tuple(choices)})


def parse(params: type[P], *, description: str, arguments: Sequence[str] | None = None) -> P:
    """Read `params` from the command line. `--help` lists every field; a wrong value exits with status 2."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    hints = typing.get_type_hints(params)
    for field in dataclasses.fields(params):  # type: ignore[arg-type]  # P is a dataclass by contract
        _add_option(parser, field, hints[field.name])
    return params(**vars(parser.parse_args(arguments)))


def run(main: Callable[[P], object], params: type[P], *, description: str) -> None:
    """Parse the command line and call `main`. A PlatformError, or one of the system such as a full disk, is printed in
    one line and exits with status 1."""
    parsed = parse(params, description=description)
    try:
        main(parsed)
    except (PlatformError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing was saved")


def _add_option(parser: argparse.ArgumentParser, field: dataclasses.Field[Any], hint: Any) -> None:
    name = "--" + field.name.replace("_", "-")
    help_text = field.metadata[_HELP]
    kind = _plain_type(hint)
    if kind is bool:
        parser.add_argument(name, default=field.default, action=argparse.BooleanOptionalAction, help=help_text)
        return
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        convert: Callable[[str], Any] = lambda text: tuple(inner(part) for part in text.split(",") if part)  # noqa: E731
        parser.add_argument(name, default=field.default, type=convert, metavar="A,B", help=help_text)
        return
    metavar = {int: "N", float: "X", Path: "PATH"}.get(kind, field.name.upper())
    choices = field.metadata.get("choices") or None
    if typing.get_origin(kind) is Literal:
        kind, choices = str, typing.get_args(kind)
    parser.add_argument(
        name, default=field.default, type=kind, choices=choices, metavar=None if choices else metavar, help=help_text
    )


def _plain_type(hint: Any) -> Any:
    """`X | None` is read as X; the default says that it may be absent."""
    if isinstance(hint, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint

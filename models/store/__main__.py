"""The model registry: aliases, promotion, comparison, deletion and exchange of versions. `python -m models.store`."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from models.errors import ArtifactMissing, InvalidInput, PlatformError
from models.store.alias_file import AliasChange
from models.store.aliases import CHAMPION, Aliases
from models.store.archive import FORMATS, export_version, import_version
from models.store.artifacts import default_store, find
from models.store.deletion import delete
from models.store.gate import MARGIN
from models.store.overview import comparison_text, known_names, versions_text
from models.store.sources.command import add_fetch
from models.store.usage import default_state_folder

# As argparse ends for arguments that it refuses.
_REFUSED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, or 2 with one line that says why it changed nothing."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (PlatformError, OSError) as error:
        print(f"error: {_text(error)}", file=sys.stderr)
        return _REFUSED
    return 0


def _alias(options: argparse.Namespace) -> None:
    aliases = Aliases(options.name)
    if options.remove:
        aliases.remove(options.alias, author=options.author, reason=options.reason)
        print(f"{options.name}: alias '{options.alias}' is removed")
    elif options.version is None:
        _print_history(aliases, options.alias)
    elif options.alias == CHAMPION:
        remedy = f"python -m models.store promote {options.name} {options.version}"
        raise InvalidInput(f"'{CHAMPION}' is moved by a promotion, which runs the quality gate: {remedy}")
    else:
        _report(options, aliases.set(options.alias, options.version, author=options.author, reason=options.reason))


def _list(options: argparse.Namespace) -> None:
    known = known_names()
    if options.name and options.name not in known:
        raise ArtifactMissing(f"no artifact '{options.name}' in the model store; known: {', '.join(known) or 'none'}")
    listed = [options.name] if options.name else known
    print("\n\n".join(versions_text(name, state_folder=options.state_folder) for name in listed) or "no models")


def _promote(options: argparse.Namespace) -> None:
    if options.force and not options.reason:
        raise InvalidInput("--force needs --reason, which is recorded in the history of the alias")
    change = Aliases(options.name).promote(
        options.alias,
        options.version,
        author=options.author,
        reason=options.reason,
        margin=options.margin,
        is_forced=options.force,
    )
    _report(options, change)


def _rollback(options: argparse.Namespace) -> None:
    _report(options, Aliases(options.name).rollback(options.alias, author=options.author, reason=options.reason))


def _delete(options: argparse.Namespace) -> None:
    latest = delete(f"{options.name}:{options.version}", state_folder=options.state_folder)
    rest = f"`latest` names {latest}" if latest else "it was the last version"
    print(f"{options.name}:{options.version} is deleted; {rest}")


def _compare(options: argparse.Namespace) -> None:
    first, second = (find(f"{options.name}:{version}") for version in (options.first, options.second))
    print(comparison_text(first, second))


def _export(options: argparse.Namespace) -> None:
    artifact = export_version(f"{options.name}:{options.version}", options.file)
    print(f"{artifact.tag} is in {options.file} ({options.file.stat().st_size / 1e6:,.1f} MB)")


def _import(options: argparse.Namespace) -> None:
    print(f"{import_version(options.file).tag} is in the model store")


def _report(options: argparse.Namespace, change: AliasChange) -> None:
    print(f"{options.name}: alias '{options.alias}' names {change.version}")
    if change.overridden:
        print(f"  recorded as forced by {change.author}: {change.overridden}")


def _print_history(aliases: Aliases, alias: str) -> None:
    for change in aliases.history(alias):
        more = "; ".join(part for part in (change.reason, change.overridden and f"forced: {change.overridden}") if part)
        line = f"{change.at:%Y-%m-%d %H:%M:%S} UTC  {change.action:8}  {change.version or '-'}  by {change.author}"
        print(f"{line}  {more}".rstrip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models.store", description=f"The versions of the models in {default_store()}."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    author = argparse.ArgumentParser(add_help=False)
    author.add_argument("--author", default=_user(), help="who changes it, for the history (default: %(default)s)")
    author.add_argument("--reason", default="", metavar="TEXT", help="why, for the history")
    state = argparse.ArgumentParser(add_help=False)
    state.add_argument(
        "--state-folder",
        type=Path,
        default=Path(os.environ.get("MAKUNOUCHI_STATE_FOLDER") or default_state_folder()),
        metavar="FOLDER",
        help="the state folder of the service (default: %(default)s)",
    )

    def command(name: str, run: object, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, parents=parents)
        added.set_defaults(run=run)
        return added

    listing = command("list", _list, "List versions with aliases, size, metric, and whether they are served.", state)
    listing.add_argument("name", nargs="?", help="one model; all when omitted")
    alias = command("alias", _alias, "Set, show or remove an alias. Sets it without the quality gate.", author)
    alias.add_argument("name", help="the model")
    alias.add_argument("alias", help=f"such as challenger; {CHAMPION} is set with `promote`")
    alias.add_argument("version", nargs="?", help="a version or an alias; without it, the history is shown")
    alias.add_argument("--remove", action="store_true", help="remove the alias; its history remains")
    promote = command("promote", _promote, "Let an alias name a version that passes the quality gate.", author)
    promote.add_argument("name", help="the model")
    promote.add_argument("version", help="a version or an alias")
    promote.add_argument(
        "--margin", type=float, default=MARGIN, metavar="X",
        help="how much worse its main metric may be than that of the present version (default: %(default)s)",
    )  # fmt: skip
    promote.add_argument("--force", action="store_true", help="override the gate; it needs --reason, and is recorded")
    rollback = command("rollback", _rollback, "Return an alias to its previous version.", author)
    rollback.add_argument("name", help="the model")
    for each in (promote, rollback):
        each.add_argument("--alias", default=CHAMPION, help="the alias to move (default: %(default)s)")
    compare = command("compare", _compare, "Print the reports of two versions side by side.")
    compare.add_argument("name", help="the model")
    compare.add_argument("first", help="a version or an alias")
    compare.add_argument("second", help="a version or an alias; differences are second minus first")
    removal = command("delete", _delete, "Delete a version that no alias and no service uses.", state)
    export = command("export", _export, "Write a version into an archive, which BentoML can import too.")
    for each in (removal, export):
        each.add_argument("name", help="the model")
        each.add_argument("version", help="the version")
    export.add_argument("file", type=Path, metavar="FILE", help=f"ends with {', '.join(FORMATS)}")
    importing = command("import", _import, "Add a version from an archive, after its files are verified.")
    importing.add_argument("file", type=Path, metavar="FILE", help="written by `export` or by `bentoml models export`")
    add_fetch(commands)
    return parser


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, such as in a container
        return f"uid {os.getuid()}"


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


if __name__ == "__main__":
    sys.exit(main())

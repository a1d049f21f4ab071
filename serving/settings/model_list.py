"""The model list: which models the service has, and how each is served.

    [churn]
    artifact = "churn:champion"
    runner = "tables"

One table per model in the TOML file that `MAKUNOUCHI_MODELS_FILE` names. Other keys than those of `ModelEntry` are
settings of the model's kind, such as `max_queue_rows` or `features`, for this model alone.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import InvalidInput, SettingsInvalid
from serving.settings.settings import Placement, Settings

# Names are in paths, in operation ids, in labels of metrics and in names of processes.
NAME_PATTERN: Final = r"^[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?$"
NAME_RULE: Final = "a name has at most 63 of a-z, 0-9, '-', '_' and '.', with a letter or a digit first and last"
ModelName = Annotated[str, Field(pattern=NAME_PATTERN)]
RUNNER_PATTERN: Final = r"^[a-z][a-z0-9_-]{0,39}$"
_TABLE = re.compile(r"""^\s*\[\s*(?:"([^"]+)"|'([^']+)'|([^\]\s]+))\s*\]""")
MAX_MODELS: Final = 1000


class ModelEntry(BaseModel):
    """One model: its artifact, and how it is served. `options` are settings of its kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: ModelName
    artifact: str = Field(
        min_length=1,
        max_length=2048,
        description="The artifact: `name`, `name:version`, `name:alias`, or a source such as `s3://bucket/churn`.",
    )
    kind: str = Field("", description="The kind, where the artifact's card does not say it.")
    runner: str = Field(
        "",
        pattern=rf"{RUNNER_PATTERN}|^$",
        description="Models with the same runner share a process. Without one: a process for each kind.",
    )
    placement: Placement = Field(
        "process", description="`process`, `inline` (in the gateway), or the URL of a runner on another host."
    )
    replicas: int = Field(1, ge=1, le=64, description="Number of processes of the runner.")
    max_memory_bytes: int = Field(0, ge=0, description="Memory above which the runner is replaced; 0: none.")
    threads: int = Field(0, ge=0, le=1024, description="Threads of each library in the runner; 0: its own.")
    cpus: tuple[int, ...] = Field((), strict=False, description="Processors on which the runner runs; all when empty.")
    required: bool = Field(True, description="Whether `/readyz` is 503 while this model is not ready.")
    watch: bool = Field(
        False, description="Whether a newer version, a moved alias or a changed source is loaded at run time."
    )
    preprocess: str = Field("", description="A step before the model, as `package.module:Name`.")
    postprocess: str = Field("", description="A step after the model, as `package.module:Name`.")
    options: dict[str, Any] = Field(default_factory=dict, description="Settings of the kind, for this model alone.")

    def spec(self) -> dict[str, Any]:
        """Return the entry as JSON, without defaults."""
        return self.model_dump(exclude_defaults=True)


# Keys that are of the process, and the same for all models in it.
RUNNER_KEYS: Final = ("placement", "replicas", "max_memory_bytes", "threads", "cpus")
KEYS: Final = tuple(name for name in ModelEntry.model_fields if name not in ("name", "options"))


class ModelList(Sequence[ModelEntry]):
    """The entries of a file, in its order, and the lines of their keys for messages."""

    def __init__(self, entries: Sequence[ModelEntry], lines: Mapping[tuple[str, str], int], file: str) -> None:
        self._entries = tuple(entries)
        self._lines = lines
        self._file = file

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:  # Any: as Sequence declares it
        return self._entries[index]

    def place(self, name: str, key: str = "") -> str:
        """Return where a key of a model is, or its table: `models.toml, line 12, [churn]`."""
        line = self._lines.get((name, key)) or self._lines.get((name, ""))
        return f"{self._file}, line {line}, [{name}]" if line else f"{self._file}, [{name}]"


def list_file(settings: Settings, source: Path) -> Path | None:
    """Return the model list: the file of the setting, or `models.toml` next to the code, or None."""
    if settings.models_file:
        return Path(settings.models_file)
    file = source / "models.toml"
    return file if file.is_file() else None


def read_model_list(path: Path) -> ModelList:
    """Return the list in a file. Raises SettingsInvalid with one line for each fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid("setting MAKUNOUCHI_MODELS_FILE: the file cannot be read as UTF-8 text") from error
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(f"{path.name}: {error}") from error
    lines = _lines_of(text)
    entries: list[ModelEntry] = []
    faults: list[str] = []
    result = ModelList(entries, lines, path.name)
    for name, table in tables.items():
        if not isinstance(table, dict):
            faults.append(f"{path.name}: '{name}' is outside a table; write it below the name of a model, [churn]")
            continue
        try:
            entries.append(entry_of(name, table))
        except ValidationError as error:
            faults += (f"{result.place(name, key)}: {message}" for key, message in _faults_of(error))
    faults += _conflicts(entries, result)
    if not tables:
        faults.append(f"{path.name}: there is no model in the file; add a table such as [churn]")
    if faults:
        raise SettingsInvalid("\n".join(faults))
    return ModelList(entries, lines, path.name)


def entry_of(name: str, table: Mapping[str, Any]) -> ModelEntry:
    """Return the entry of one table. Raises pydantic's ValidationError."""
    known = {key: value for key, value in table.items() if key in KEYS}
    options = {key: value for key, value in table.items() if key not in KEYS}
    return ModelEntry(name=name, options=options, **known)


def check_name(name: object) -> str:
    """Return the name of a model. Raises InvalidInput for one that is not permitted."""
    text = str(name)
    if not re.fullmatch(NAME_PATTERN, text):
        raise InvalidInput(NAME_RULE, location=("path", "name"))
    return text


def similar_key(key: str, known: Sequence[str]) -> str:
    """Return a hint at the key that was meant, or at all keys."""
    similar = difflib.get_close_matches(key, known, 1)
    return f"did you mean '{similar[0]}'?" if similar else f"known: {', '.join(sorted(known))}"


def conflicting_name(name: str, others: Sequence[str]) -> str:
    """Return the other name whose operations would have the ids of `name`, or an empty text."""
    return next((other for other in others if other != name and identifier(other) == identifier(name)), "")


def identifier(name: str) -> str:
    """Return a model's name as a part of operation ids and of names of methods."""
    return re.sub(r"[^a-z0-9]", "_", name)


def _conflicts(entries: Sequence[ModelEntry], places: ModelList) -> Iterator[str]:
    names: list[str] = []
    runners: dict[str, ModelEntry] = {}
    for entry in entries:
        other = conflicting_name(entry.name, names)
        if other:
            yield f"{places.place(entry.name)}: the name is too similar to '{other}': both are {identifier(other)}"
        names.append(entry.name)
        if entry.replicas > 1 and entry.placement != "process":
            place = places.place(entry.name, "replicas")
            yield f"{place}: replicas need the placement 'process', not '{entry.placement}'"
        if entry.runner:
            first = runners.setdefault(entry.runner, entry)
            for key in RUNNER_KEYS:
                if getattr(first, key) != getattr(entry, key):
                    yield (
                        f"{places.place(entry.name, key)}: {key} differs from that of '{first.name}', which has the "
                        f"same runner '{entry.runner}'"
                    )
    if len(names) > MAX_MODELS:
        yield f"{len(names)} models; at most {MAX_MODELS} can be listed"


def _faults_of(error: ValidationError) -> Iterator[tuple[str, str]]:
    for fault in error.errors(include_url=False, include_input=False):
        key = str(fault["loc"][0])
        if key == "name":
            yield "", NAME_RULE
        elif fault["type"] == "missing":
            yield key, f'the key {key} is missing; add {key} = "NAME:VERSION"'
        elif key == "runner":
            yield key, "runner: at most 40 of a-z, 0-9, '-' and '_', with a letter first"
        else:
            yield key, f"{key}: {fault['msg'].removeprefix('Value error, ')}"


def _lines_of(text: str) -> dict[tuple[str, str], int]:
    """Return the line of each table and of each of its keys. tomllib reports no lines of what it has parsed."""
    lines: dict[tuple[str, str], int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        match = _TABLE.match(line)
        if match:
            table = next(group for group in match.groups() if group)
            lines.setdefault((table, ""), number)
        elif "=" in line and not line.lstrip().startswith("#"):
            key = line.partition("=")[0].strip().strip("\"'")
            lines.setdefault((table, key), number)
    return lines

"""A fixture with the models of the README's section "Several models", trained by its commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.artifact_cache import cached_home, imports_key
from tests.fixtures_default import trained_default_home
from tests.training.text.example_texts import sentences_csv

ROOT = Path(__file__).parent.parent
_TRAINING = ("image", "tabular", "recommender", "text", "python")


def section() -> str:
    """Return the section of the README."""
    return (ROOT / "README.md").read_text().partition("## Several models\n")[2].partition("\n## ")[0]


def model_list() -> str:
    """Return the model list that the section shows."""
    match = re.search(r"^```toml\n(.*?)^```$", section(), re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


def commands() -> list[list[str]]:
    """Return the arguments of each training command of the section."""
    return [line.split()[2:] for line in section().splitlines() if line.startswith("$ .venv/bin/python ")]


def sentiment_code() -> str:
    """Return the class that docs/own-models.md shows."""
    match = re.search(r"^# mymodels/sentiment.py\n(.*?)^```$", _own_models(), re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


def write_files(folder: Path) -> None:
    """Write the files that the commands name."""
    from tests.test_readme import write_own_files

    write_own_files(folder)
    sentences_csv(folder)
    write_class(folder)
    weights = folder / "weights"
    weights.mkdir()
    (weights / "words.json").write_text('{"good": 1, "bad": -1}')


def write_class(folder: Path) -> None:
    """Write the package of the class."""
    package = folder / "mymodels"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sentiment.py").write_text(sentiment_code())


@pytest.fixture(scope="session")
def several_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a BENTOML_HOME with the nine models of the section."""
    keys = [imports_key(f"training.{kind}.__main__") for kind in _TRAINING]
    key = imports_key("training.__main__", also=" ".join([*keys, section(), sentiment_code()]))
    default = trained_default_home()
    folder = tmp_path_factory.mktemp("several")
    write_files(folder)
    return cached_home("several", key, "tests.fixtures_several", str(folder), stores=[default / "models"])


def train(folder: Path) -> None:
    """Run the commands in `folder`, which has the files that they name."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    for arguments in commands():
        subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True)


def _own_models() -> str:
    return (ROOT / "docs" / "own-models.md").read_text()


if __name__ == "__main__":
    train(Path(sys.argv[1]))

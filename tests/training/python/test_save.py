"""Tests of `python -m training.python`: what it saves, and what it refuses without saving anything."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import DataInvalid, PlatformError
from models.store.artifacts import Artifact, find, verify
from tests.models.python.example_artifacts import MODULE, saved
from training.python.params import Params
from training.python.save import save

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "models"


def test_an_artifact_holds_weights_and_a_card_and_no_code(store: Path) -> None:
    artifact = saved("Sentiment", store, name="sentiment")
    verify(artifact)
    names = {path.relative_to(artifact.folder).as_posix() for path in artifact.folder.rglob("*") if path.is_file()}
    assert names == {"card.json", "manifest.json", "model.yaml", "report.md", "weights/words.json"}
    card, code = artifact.card, artifact.card.code
    assert code is not None
    assert code.reference == f"{MODULE}:Sentiment"
    assert code.example == {"text": "A good film", "stars": None}
    assert code.example_prediction == {"positive": True, "score": 1.0}
    assert code.is_deterministic
    assert [(column.name, column.kind, column.required, column.nullable) for column in card.inputs] == [
        ("text", "text", True, False),
        ("stars", "integer", False, True),
    ]
    assert [(column.name, column.kind) for column in card.outputs] == [("positive", "boolean"), ("score", "number")]
    assert card.description == "Counts good and bad words."


def test_a_single_value_is_one_column(store: Path) -> None:
    card = saved("Length", store).card
    assert [(column.name, column.kind) for column in (*card.inputs, *card.outputs)] == [
        ("instance", "text"),
        ("prediction", "integer"),
    ]
    assert card.code is not None
    assert not card.code.is_deterministic


def test_an_example_is_made_of_defaults(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "row.json"
    file.write_text('{"text": "from a file"}')
    assert example_of(saved("Shapes", store, example='{"x": 1}')) == {"x": 1.0, "y": 1.0}
    assert example_of(saved("NoExample", store, example=f"@{file}")) == {"text": "from a file", "stars": None}


def example_of(artifact: Artifact) -> object:
    assert artifact.card.code is not None
    return artifact.card.code.example


@pytest.mark.parametrize(
    ("class_name", "message"),
    [
        ("Gone", "no class 'Gone'"),
        ("NoPredict", "has no method predict"),
        ("Untyped", "does not say what it takes; expected: predict(self, rows: list[Input]) -> list[Output]"),
        ("HalfTyped", "does not say what it takes"),
        ("NoSchema", "have no JSON schema"),
        ("Asynchronous", "has to be a plain function, not async"),
        ("NoExample", "has no example; add `example = ...` to the class, or --example with its JSON"),
        ("WrongExample", "does not fit the input type of predict at 'text'"),
        ("Greedy", "returned 1 results for 2 rows"),
        ("WrongType", "returned an invalid result: the result is NoneType (int_type)"),
        ("NotLoading", "class 'NotLoading' failed: KeyError: 'words'"),
    ],
)
def test_a_class_that_cannot_be_served_is_refused_with_its_reason(store: Path, class_name: str, message: str) -> None:
    with pytest.raises(PlatformError) as caught:
        saved(class_name, store)
    assert message in str(caught.value)
    assert not (store / "example").exists()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (Params(name="x"), "--class is missing"),
        (Params(class_=f"{MODULE}:Length"), "--name is missing"),
        (Params(class_=f"{MODULE}:Length", name="x", weights=Path("nowhere")), "no such folder or file"),
        (Params(class_=f"{MODULE}:Length", name="x", example="four"), "is not JSON"),
        (Params(class_=f"{MODULE}:Length", name="x", example="@nowhere.json"), "No such file"),
        (Params(class_="nowhere.at_all:Length", name="x"), "no module 'nowhere'"),
        (Params(class_=f"{MODULE}:Length", name="X Y"), "not a valid artifact name"),
    ],
)
def test_options_are_refused_with_their_reason(store: Path, params: Params, message: str) -> None:
    with pytest.raises(PlatformError) as caught:
        save(params, store=store)
    assert message in str(caught.value)
    assert not (store / "x").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.py", b"print(1)", r"file 'model\.py' has a format that artifacts may not have"),
        ("model.pkl", b"", r"file 'model\.pkl' has a format that artifacts may not have"),
        ("model.bin", pickle.dumps({"a": [1, 2]}), r"file 'model\.bin' is a pickle"),
    ],
)
def test_weights_that_run_code_are_refused(
    store: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    weights = tmp_path / "some"
    weights.mkdir()
    (weights / name).write_bytes(content)
    with pytest.raises(DataInvalid, match=message):
        save(Params(class_=f"{MODULE}:Length", weights=weights, name="x"), store=store)
    assert not (store / "x").exists()


@pytest.mark.slow
def test_the_archives_of_torch_are_pickles(store: Path, tmp_path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(DataInvalid, match=r"model\.pt' is a pickle"):
        save(Params(class_=f"{MODULE}:Length", weights=tmp_path / "model.pt", name="x"), store=store)


@pytest.mark.slow
def test_the_command_saves_a_class_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "mymodels").mkdir()
    (tmp_path / "mymodels" / "length.py").write_text(
        "class Length:\n"
        "    example = 'four'\n"
        "    def load(self, folder):\n"
        "        self.most = int((folder / 'most.txt').read_text())\n"
        "    def predict(self, texts: list[str]) -> list[int]:\n"
        "        return [min(len(text), self.most) for text in texts]\n"
    )
    (tmp_path / "most.txt").write_text("3")
    command = [sys.executable, "-m", "training.python", "--class", "mymodels.length:Length", "--name", "length"]
    environment = {"PYTHONPATH": str(ROOT), "BENTOML_HOME": str(tmp_path / "home"), "PATH": "", "HOME": str(tmp_path)}
    run = subprocess.run(
        [*command, "--weights", "most.txt"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert '"four" -> 3' in run.stdout
    artifact = find("length", store=tmp_path / "home" / "models")
    assert json.loads((artifact.folder / "card.json").read_bytes())["code"]["reference"] == "mymodels.length:Length"

    failed = subprocess.run([*command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("error: class 'Length' failed: FileNotFoundError")

"""The model list: what a file means, and what is said of each line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InvalidInput, SettingsInvalid
from serving.settings.__main__ import main
from serving.settings.model_list import check_name, identifier, list_file, read_model_list
from serving.settings.settings import Settings


def written(folder: Path, text: str) -> Path:
    file = folder / "models.toml"
    file.write_text(text)
    return file


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(SettingsInvalid) as error:
        read_model_list(written(folder, text))
    return str(error.value).splitlines()


def test_a_table_is_a_model(tmp_path: Path) -> None:
    models = read_model_list(
        written(
            tmp_path,
            """
            # Two tables in one process.
            [churn]
            artifact = "churn:champion"
            runner = "tables"
            max_queue_rows = 4096

            ["shop.eu"]
            artifact = "shop"
            required = false
            watch = true
            """,
        )
    )
    churn, shop = models
    assert (churn.name, churn.artifact, churn.runner, churn.required) == ("churn", "churn:champion", "tables", True)
    assert churn.options == {"max_queue_rows": 4096}
    assert churn.spec() == {
        "name": "churn", "artifact": "churn:champion", "runner": "tables", "options": {"max_queue_rows": 4096},
    }  # fmt: skip
    assert (shop.name, shop.required, shop.watch, shop.placement, shop.replicas) == (
        "shop.eu",
        False,
        True,
        "process",
        1,
    )
    assert models.place("churn", "max_queue_rows") == "models.toml, line 6, [churn]"
    assert models.place("shop.eu") == "models.toml, line 8, [shop.eu]"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[churn]\nrunner = 'x'", "models.toml, line 1, [churn]: the key artifact is missing"),
        ("[churn]\nartifact = 3", "models.toml, line 2, [churn]: artifact: Input should be a valid string"),
        ("[churn]\nartifact = ''", "models.toml, line 2, [churn]: artifact: String should have at least 1 character"),
        ("[Churn]\nartifact = 'x'", "models.toml, line 1, [Churn]: a name has at most 63 of a-z"),
        (
            "[churn]\nartifact = 'x'\nreplicas = 0",
            "line 3, [churn]: replicas: Input should be greater",
        ),
        ("[churn]\nartifact = 'x'\nplacement = 'here'", "line 3, [churn]: placement: expected `process`, `inline` or"),
        ("[churn]\nartifact = 'x'\nrunner = 'My runner'", "line 3, [churn]: runner: at most 40 of a-z"),
        ("artifact = 'x'", "models.toml: 'artifact' is outside a table; write it below the name of a model, [churn]"),
        ("", "models.toml: there is no model in the file"),
        ("[churn\n", "models.toml: Expected ']'"),
        ("[a]\nartifact='x'\n[a]\nartifact='y'", "models.toml: Cannot declare ('a',) twice"),
        ("[a-b]\nartifact='x'\n[a_b]\nartifact='y'", "line 3, [a_b]: the name is too similar to 'a-b'"),
        (
            "[a]\nartifact='x'\nrunner='r'\n[b]\nartifact='x'\nrunner='r'\nplacement='inline'",
            "line 7, [b]: placement differs from that of 'a', which has the same runner 'r'",
        ),
    ],
)
def test_a_wrong_line_is_named_with_its_remedy(tmp_path: Path, text: str, says: str) -> None:
    (fault,) = faults(tmp_path, text)
    assert says in fault


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    assert len(faults(tmp_path, "[a]\nreplicas = 0\n[B]\nartifact = 'x'")) == 3


def test_a_file_that_cannot_be_read_is_a_fault_of_the_setting(tmp_path: Path) -> None:
    for content in (None, b"\xff\xfe"):
        file = tmp_path / "list.toml"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SettingsInvalid, match="MAKUNOUCHI_MODELS_FILE"):
            read_model_list(file)


def test_the_file_is_that_of_the_setting_or_next_to_the_code(tmp_path: Path) -> None:
    assert list_file(Settings(), tmp_path) is None
    file = written(tmp_path, "")
    assert list_file(Settings(), tmp_path) == file
    assert list_file(Settings(models_file="/other.toml"), tmp_path) == Path("/other.toml")


def test_the_settings_show_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "[churn]\nartifact = 'churn'\nmax_queue_rows = 9\n")
    monkeypatch.setenv("MAKUNOUCHI_MODELS_FILE", str(file))
    main([])
    assert capsys.readouterr().out.endswith('[churn]\nartifact = "churn"\nmax_queue_rows = 9\n')


@pytest.mark.parametrize("name", ["", "A", "a/b", "a b", "-a", "a-", "a" * 64, "ü"])
def test_a_name_that_is_not_permitted_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="a name has at most 63 of"):
        check_name(name)


def test_names_become_parts_of_operation_ids() -> None:
    assert [identifier(name) for name in ("churn", "shop.eu", "a-b")] == ["churn", "shop_eu", "a_b"]

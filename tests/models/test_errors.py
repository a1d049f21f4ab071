"""What of an error's text is shown: no folder of the machine."""

from __future__ import annotations

import pytest

from models.errors import text_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Load model from /home/me/models/a/model.onnx failed:Protobuf", "Load model from model.onnx failed:Protobuf"),
        ("[Errno 2] No such file or directory: '/srv/weights/w.bin'", "[Errno 2] No such file or directory: 'w.bin'"),
        ("cannot import name 'x' from 'y' (/opt/app/y.py)", "cannot import name 'x' from 'y' (y.py)"),
        ("s3://bucket/models/a and https://host/a/b", "s3://bucket/models/a and https://host/a/b"),
        ("a rate in km/h, 3 / 4, float32 (N / 2, W)", "a rate in km/h, 3 / 4, float32 (N / 2, W)"),
    ],
)
def test_a_path_is_shown_without_its_folders(text: str, shown: str) -> None:
    assert text_of(ValueError(text)) == shown


def test_an_error_of_the_system_names_the_file_alone() -> None:
    assert text_of(FileNotFoundError(2, "No such file or directory", "/a/b/c")).endswith("'c'")

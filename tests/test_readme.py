"""Tests of the README: its targets and files exist, and its examples return the printed answers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.fixtures_default import own_home
from tests.live.server import ANSWER_S, END_S, Server, free_port

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Members that differ between runs or machines.
VOLATILE = {"version", "inference_time_ms", "created", "time", "request_id", "uptime_s"}
# A model retrained on another processor, or in bfloat16, changes a probability by less than this.
TOLERANCE = 0.06


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(README.read_text())


def calls() -> list[tuple[str, Any]]:
    """Return each bash block with a curl line and the JSON block after it."""
    all_blocks = blocks()
    return [
        (code, json.loads(all_blocks[index + 1][1]))
        for index, (language, code) in enumerate(all_blocks)
        if language == "bash" and "curl" in code and all_blocks[index + 1][0] == "json"
    ]


def differences(printed: Any, answered: Any, at: str = "$") -> list[str]:
    """Return the differences between a printed and a received answer, except volatile members and rounding."""
    if isinstance(printed, dict) and isinstance(answered, dict):
        if printed.keys() != answered.keys():
            return [f"{at}: has {sorted(answered)}, printed {sorted(printed)}"]
        return [
            line
            for key in printed
            if key not in VOLATILE
            for line in differences(printed[key], answered[key], f"{at}.{key}")
        ]
    if isinstance(printed, list) and isinstance(answered, list):
        if len(printed) != len(answered):
            return [f"{at}: has {len(answered)} entries, printed {len(printed)}"]
        pairs = enumerate(zip(printed, answered, strict=True))
        return [line for index, (left, right) in pairs for line in differences(left, right, f"{at}[{index}]")]
    if isinstance(printed, float) and isinstance(answered, int | float):
        return [] if abs(printed - answered) <= TOLERANCE else [f"{at}: {answered}, printed {printed}"]
    return [] if printed == answered else [f"{at}: {answered!r}, printed {printed!r}"]


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", README.read_text()))
    assert named
    assert named <= targets


def test_every_file_that_is_linked_exists() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.live
@pytest.mark.parametrize("index", range(len(calls())))
def test_curl_line_gives_the_printed_answer(index: int, service: Server) -> None:
    code, printed = calls()[index]
    command = code.replace("http://localhost:3000", service.url)
    run = subprocess.run(
        ["bash", "-euc", command], cwd=ROOT, capture_output=True, text=True, check=True, timeout=ANSWER_S
    )
    assert differences(printed, json.loads(run.stdout)) == []


@pytest.mark.live
def test_python_block_prints_what_is_printed(service: Server, tmp_path: Path) -> None:
    all_blocks = blocks()
    place = next(index for index, (language, _) in enumerate(all_blocks) if language == "python")
    script = tmp_path / "client.py"
    script.write_text(all_blocks[place][1].replace("http://localhost:3000", service.url))
    run = subprocess.run([sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all_blocks[place + 1] == ("text", run.stdout)


def training_lines() -> list[str]:
    code = next(code for language, code in blocks() if language == "bash" and "-m training" in code)
    return code.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("line", training_lines(), ids=lambda line: line.split()[2])
def test_trains_on_your_own_files(line: str, tmp_path: Path) -> None:
    write_own_files(tmp_path)
    _, *arguments = line.split()
    # One thread: on shared cores, two threads that wait for each other are far slower.
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment = {**os.environ, **one_thread, "BENTOML_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("saved ")


def write_own_files(folder: Path) -> None:
    """Write the files that the README's training lines name: a table, a folder of images and interactions."""
    rows = [f"{i % 7},{'red' if i % 3 else 'blue'},{'yes' if i % 7 > 3 else 'no'}" for i in range(200)]
    (folder / "my.csv").write_text("\n".join(["size,colour,y", *rows]))
    for name, colour in (("dark", 30), ("light", 220)):
        of_class = folder / "folder-with-one-folder-per-class" / name
        of_class.mkdir(parents=True)
        for index in range(10):
            Image.new("RGB", (64, 64), (colour + index, colour, colour - index)).save(of_class / f"{index}.png")
    likes = [f"u{u},i{i}" for u in range(30) for i in range(20) if (u + i) % 2 == 0]
    (folder / "who-liked-what.csv").write_text("\n".join(["user_id,item_id", *likes]))


@pytest.mark.live
def test_make_serve_serves_what_the_store_holds(
    default_home: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    home, port = own_home(default_home, tmp_path_factory), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BENTOML_", "MAKE"))}
    command = ["make", "serve", f"PORT={port}", f"BENTOML_HOME={home}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    server = Server(process, port, tmp_path / "log")
    try:
        server.wait_ready()
        assert "image:" in server.log
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(END_S)

"""The Java and Go clients of openapi-generator are generated, compiled, and make every main call."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.serving.generated_clients.generators import (
    go,
    java_compiler,
    node_tools,
    openapi_generator,
    openapi_generator_jar,
    run,
)
from tests.serving.generated_clients.main_calls import check_outcome, write_inputs

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ARGUMENTS = ("image.png", "table.csv")


def test_the_java_client_compiles_and_makes_every_main_call(address: str, tmp_path: Path) -> None:
    compiler = java_compiler()
    # Apache's httpmime is one of the packages in this jar.
    mime = node_tools() / "node_modules/selenium-server-standalone/index.jar"
    classes = f"classes:{openapi_generator_jar()}:{mime}"
    write_inputs(tmp_path)
    # The annotation of generated classes is in a library that is on no reachable index.
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/generatedAnnotation.mustache").touch()
    library = ["--library", "native", "--additional-properties", "openApiNullable=false", "--template-dir", "templates"]
    run([*openapi_generator(), "generate", "-i", "openapi.json", "-g", "java", "-o", "client", *library], tmp_path)

    sources = (tmp_path / "client/src/main/java").glob("**/*.java")
    run([*compiler, "-proc:none", "-d", "classes", "-cp", classes, *sources, HERE / "Calls.java"], tmp_path)
    outcome = run(["java", "-cp", classes, "Calls", address, *ARGUMENTS], tmp_path)

    check_outcome(outcome)


def test_the_go_client_compiles_and_makes_every_main_call(address: str, tmp_path: Path) -> None:
    compiler = go()
    write_inputs(tmp_path)
    # Without the look-up, unions need a library that is on no reachable index.
    options = ["--git-user-id=makunouchi", "--git-repo-id=client"]
    options += ["--additional-properties=useOneOfDiscriminatorLookup=true"]
    run([*openapi_generator(), "generate", "-i", "openapi.json", "-g", "go", "-o", "client", *options], tmp_path)
    (tmp_path / "client/calls").mkdir()
    shutil.copy(HERE / "calls.go", tmp_path / "client/calls/main.go")

    run([*compiler, "build", "-o", tmp_path / "calls", "./calls"], tmp_path / "client")
    outcome = run([tmp_path / "calls", address, *ARGUMENTS], tmp_path)

    check_outcome(outcome)

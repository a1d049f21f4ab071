"""A tracing exporter that could send nothing ends the start with its remedy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bentoml._internal.configuration.containers import BentoMLContainer

from serving.bento import tracing
from serving.bento.tracing import tracing_fault

ROOT = Path(__file__).parents[3]
EFFECTIVE = """
import service
from serving.bento.tracing import tracing_exporter, tracing_fault
for each in (service.Gateway, service.ImageRunner):
    each.inject_config()
    print(tracing_exporter())
service.Gateway.inject_config()
raise SystemExit(tracing_fault())
"""


@pytest.fixture
def configured() -> Iterator[Any]:
    """The section `tracing` of BentoML's configuration, restored afterwards."""
    section = BentoMLContainer.tracing
    changed = [section.exporter_type, section.otlp, section.zipkin, section.jaeger]
    before = [each.get() for each in changed]
    yield section
    for each, value in zip(changed, before, strict=True):
        each.set(value)


@pytest.mark.parametrize(
    ("exporter", "options", "fault"),
    [("otlp", {"protocol": None}, r"tracing\.otlp\.protocol is ''; expected: http or grpc"),
     ("otlp", {"protocol": "http"}, "not installed; run: pip install opentelemetry-exporter-otlp-proto-http"),
     ("otlp", {"protocol": "grpc"}, "not installed; run: pip install opentelemetry-exporter-otlp-proto-grpc"),
     ("jaeger", {"protocol": "thrift"}, "not installed; run: pip install opentelemetry-exporter-jaeger-thrift"),
     ("zipkin", {"endpoint": None}, r"tracing\.zipkin\.endpoint is empty"),
     ("zipkin", {"endpoint": "http://zipkin:9411"}, "not installed; run: pip install opentelemetry-exporter-zipkin"),
     ("otpl", None, "is 'otpl'; expected: otlp, jaeger, zipkin")],
)  # fmt: skip
def test_an_exporter_that_could_send_nothing_is_refused(
    configured: Any, exporter: str, options: dict[str, Any] | None, fault: str
) -> None:
    configured.exporter_type.set(exporter)
    if options is not None:
        getattr(configured, exporter).set(options)
    assert re.search(fault, tracing_fault())


def test_an_installed_exporter_is_accepted(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracing_fault() == ""
    configured.exporter_type.set("otlp")
    configured.otlp.set({"protocol": "http", "endpoint": "http://collector:4318/v1/traces"})
    monkeypatch.setattr(tracing, "find_spec", lambda module: module == "opentelemetry.exporter.otlp.proto.http" or None)
    assert tracing_fault() == ""


@pytest.mark.slow
@pytest.mark.parametrize("key", ["tracing", "services.Gateway.tracing"])
def test_an_exporter_for_all_services_or_one_is_checked_before_the_start(key: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKUNOUCHI_")}
    options = f"{key}.exporter_type=otlp {key}.otlp.protocol=http"
    run = subprocess.run(
        [sys.executable, "-c", EFFECTIVE],
        cwd=ROOT, env={**env, "BENTOML_CONFIG_OPTIONS": options}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stdout.split()[0] == "otlp"
    assert (run.stdout.split()[1] == "otlp") is (key == "tracing")
    assert run.stderr.endswith("not installed; run: pip install opentelemetry-exporter-otlp-proto-http\n")

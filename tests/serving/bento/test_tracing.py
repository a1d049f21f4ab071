"""A tracing exporter that could send nothing ends the start with its remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from bentoml._internal.configuration.containers import BentoMLContainer

from serving.bento import tracing
from serving.bento.tracing import tracing_fault


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

"""The compose file and the files that it mounts: valid, and without a name that does not exist."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from prometheus_client import CollectorRegistry

from deploy.lock import ROOT
from serving.kinds.recommender.metrics import count_feedback, count_recommendation
from serving.kinds.registry import ServiceSettings
from serving.observability import metrics
from serving.observability.metrics import ServiceMetrics
from serving.settings.settings import PREFIX
from training.packages import Package, package_file

DEPLOY = ROOT / "deploy"
# The schema of the compose specification, from the wheel of a validator.
_SCHEMA = Package(
    requirement="check-jsonschema==0.39.0",
    sha256="14ce5c94871c551268ea948ffe21e9f1464dc48fb20bf9a4c13deeaaf756cf9b",
)
_SCHEMA_FILE = "check_jsonschema/builtin_schemas/vendor/compose-spec.json"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def filled_in(value: str, environment: dict[str, str] | None = None) -> str:
    """Return a value with compose's ${NAME:-default} replaced by the variable of `environment`, or the default."""
    variables = environment or {}
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: variables.get(match[1]) or match[2], value)


def test_it_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads(package_file(_SCHEMA, _SCHEMA_FILE).read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.validate(compose)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"services": {"service": {"image": "x", "no_such_key": 1}}})


def settings_of(compose: dict[str, Any], environment: dict[str, str]) -> ServiceSettings:
    """Return the settings of the service, with the variables that compose takes from `environment`."""
    variables = compose["services"]["service"]["environment"]
    values = {
        name.removeprefix(PREFIX).lower(): filled_in(value, environment)
        for name, value in variables.items()
        if name.startswith(PREFIX)
    }
    assert values
    assert values.keys() <= ServiceSettings.model_fields.keys()
    return ServiceSettings.model_validate(values)


def test_every_setting_in_it_exists_and_the_defaults_need_nothing_else(compose: dict[str, Any]) -> None:
    settings = settings_of(compose, {})
    assert settings.feedback_url == ""
    assert settings.redis_url.get_secret_value() == ""
    assert (settings.rate_limit_store, settings.cache_store) == ("memory", "memory")


def test_only_the_service_has_settings(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        ours = [variable for variable in service.get("environment", {}) if variable.startswith("MAKUNOUCHI")]
        assert bool(ours) == (name == "service")


def test_the_full_environment_starts_every_part_and_has_the_service_use_it(compose: dict[str, Any]) -> None:
    full = read_env(DEPLOY / "full.env")
    profiles = {profile for service in compose["services"].values() for profile in service.get("profiles", [])}
    assert set(full.pop("COMPOSE_PROFILES").split(",")) == profiles
    assert full.keys() <= set(re.findall(r"\$\{(\w+):-", (DEPLOY / "compose.yaml").read_text()))
    settings = settings_of(compose, full)
    database, redis = urlsplit(settings.feedback_url), urlsplit(settings.redis_url.get_secret_value())
    assert database.scheme == "postgresql+psycopg"
    created = compose["services"][database.hostname]["environment"]
    assert (database.username, database.path) == (created["POSTGRES_USER"], f"/{created['POSTGRES_DB']}")
    assert database.password == filled_in(created["POSTGRES_PASSWORD"], full)
    assert compose["services"][redis.hostname]["profiles"] == ["redis"]
    assert (settings.rate_limit_store, settings.cache_store) == ("redis", "redis")
    assert settings.cache_bytes > 0


def read_env(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def test_without_a_profile_the_service_runs_alone(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if "profiles" not in service] == ["service"]
    service = compose["services"]["service"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert float(service["stop_grace_period"].removesuffix("s")) > settings_of(compose, {}).shutdown_grace_s


def test_feedback_outlives_the_container(compose: dict[str, Any]) -> None:
    """The default log is under BENTOML_HOME."""
    containerfile = (DEPLOY / "container" / "Containerfile").read_text()
    (home,) = re.findall(r"BENTOML_HOME=(\S+)", containerfile)
    service = compose["services"]["service"]
    assert f"data:{home}" in service["volumes"]
    assert not [mount for mount in service["tmpfs"] if mount.startswith(home)]
    assert [mount for mount in service["tmpfs"] if mount.startswith(service["environment"]["TMPDIR"] + ":")]


def test_every_file_that_it_mounts_is_there(compose: dict[str, Any]) -> None:
    mounted = [volume for service in compose["services"].values() for volume in service.get("volumes", [])]
    sources = [volume.partition(":")[0] for volume in mounted]
    assert [source for source in sources if source.startswith("./")]
    for source in sources:
        assert (DEPLOY / source).exists() if source.startswith("./") else source in compose["volumes"]


def test_prometheus_asks_the_service_where_it_listens(compose: dict[str, Any]) -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    ((target,),) = [entry["targets"] for entry in job["static_configs"]]
    name, _, port = target.partition(":")
    assert filled_in(compose["services"][name]["ports"][0]).endswith(f":{port}")
    source = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text())
    assert source["datasources"][0]["url"].removeprefix("http://").partition(":")[0] in compose["services"]


def names(registry: CollectorRegistry) -> set[str]:
    """Return every series name that the metrics of a registry can have."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {metric.name + suffix for metric in registry.collect() for suffix in suffixes[metric.type]}


@pytest.mark.parametrize(
    "dashboard", sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")), ids=lambda path: path.stem
)
def test_a_dashboard_shows_metrics_that_the_service_has(dashboard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panels = json.loads(dashboard.read_text())["panels"]
    queried = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"makunouchi_\w+", target["expr"])
    }
    assert queried
    # A kind registers its metrics when it first counts.
    monkeypatch.setattr(metrics, "_metrics", ServiceMetrics())

    async def count_all() -> None:
        count_recommendation("popular", reason=None, features="found")
        count_feedback(accepted=1, duplicates=0)

    asyncio.run(count_all())
    assert queried <= names(metrics.service_metrics().registry)
    assert len({panel["id"] for panel in panels}) == len(panels)

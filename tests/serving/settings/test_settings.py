"""ServiceSettings: named when wrong, masked when printed, and all of them on their page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.errors import SettingsInvalid
from serving.access.production_checks import setting_faults
from serving.kinds.registry import ServiceSettings
from serving.settings.__main__ import main
from serving.settings.loading import load_settings
from serving.settings.reference import markdown

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MAKUNOUCHI_"):
            monkeypatch.delenv(name)


def test_the_reference_page_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == markdown(ServiceSettings), (
        "run: python -m serving.settings --markdown > docs/settings.md"
    )


def test_every_setting_is_described() -> None:
    for name, field in ServiceSettings.model_fields.items():
        assert len(field.description or "") > 10, name


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAKUNOUCHI_NO_SUCH", "1"), ("MAKUNOUCHI_MAX_ROWS", "0"), ("MAKUNOUCHI_RATE_LIMIT", "many"),
     ("MAKUNOUCHI_TRUSTED_PROXIES", '["10.0.0.0/99"]'), ("MAKUNOUCHI_RATE_LIMIT_STORE", "disk")],
)  # fmt: skip
def test_the_error_names_the_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=name):
        load_settings(ServiceSettings)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [("MAKUNOUCHI_IMAGE_URL_HOSTS", "a.example", "MAKUNOUCHI_IMAGE_URL_HOSTS: expected a JSON list"),
     ("MAKUNOUCHI_REDIS_URL", "cache:6379", "MAKUNOUCHI_REDIS_URL: expected a URL, such as redis://"),
     ("MAKUNOUCHI_FEEDBACK_URL", "/srv/feedback.db", "MAKUNOUCHI_FEEDBACK_URL: expected a URL, such as sqlite:"),
     ("MAKUNOUCHI_IMAGE_PLACEMENT", "docker", "MAKUNOUCHI_IMAGE_PLACEMENT: expected `process`, `inline` or an http"),
     ("MAKUNOUCHI_MAX_ROW", "5", "unknown setting MAKUNOUCHI_MAX_ROW; did you mean MAKUNOUCHI_MAX_ROWS"),
     ("MAKUNOUCHI_42", "5", "unknown setting MAKUNOUCHI_42; see: python -m serving.settings")],
)  # fmt: skip
def test_the_error_states_the_remedy(monkeypatch: pytest.MonkeyPatch, name: str, value: str, fault: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=fault):
        load_settings(ServiceSettings)


@pytest.mark.parametrize(
    ("line", "fault"), [("MAKUNOUCHI_MAX_ROW=5", "MAKUNOUCHI_MAX_ROW; did"), ("FOO=1", "FOO; see")]
)
def test_the_error_names_an_unknown_setting_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, fault: str
) -> None:
    (tmp_path / "env").write_text(line)
    monkeypatch.setenv("MAKUNOUCHI_ENV_FILE", str(tmp_path / "env"))
    with pytest.raises(SettingsInvalid, match=f"in the file of MAKUNOUCHI_ENV_FILE: unknown setting {fault}"):
        load_settings(ServiceSettings)


def test_all_faults_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"NO_SUCH": "1", "MAX_ROWS": "0", "CORS_ORIGINS": "a.example", "IMAGE_URL_HOSTS": "b.example",
             "JWT_ISSUER": "me", "RATE_LIMIT_STORE": "redis", "CACHE_STORE": "redis"}  # fmt: skip
    for name, value in wrong.items():
        monkeypatch.setenv(f"MAKUNOUCHI_{name}", value)
    with pytest.raises(SettingsInvalid) as raised:
        load_settings(ServiceSettings, setting_faults)
    lines = str(raised.value).splitlines()
    named = {line.split()[2].strip(":;").removeprefix("MAKUNOUCHI_") if line.startswith("unknown")
             else line.split()[1].strip(":").removeprefix("MAKUNOUCHI_") for line in lines}  # fmt: skip
    assert named == {
        "NO_SUCH", "MAX_ROWS", "CORS_ORIGINS", "IMAGE_URL_HOSTS", "JWT_AUDIENCE", "REDIS_URL", "CACHE_BYTES"
    }  # fmt: skip
    assert len(lines) == 8  # the URL is missing for two stores


def test_a_check_does_not_report_the_default_of_an_invalid_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKUNOUCHI_REDIS_URL", "cache:6379")
    monkeypatch.setenv("MAKUNOUCHI_RATE_LIMIT_STORE", "redis")
    with pytest.raises(SettingsInvalid) as raised:
        load_settings(ServiceSettings, setting_faults)
    assert str(raised.value).startswith("setting MAKUNOUCHI_REDIS_URL: expected a URL")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [({"cache_store": "redis", "redis_url": "redis://cache"}, "MAKUNOUCHI_CACHE_BYTES: it is 0"),
     ({"cache_store": "redis", "cache_bytes": "1000"}, "MAKUNOUCHI_REDIS_URL: it is empty, but MAKUNOUCHI_CACHE_STORE"),
     ({"rate_limit_store": "redis"}, "MAKUNOUCHI_REDIS_URL: it is empty, but MAKUNOUCHI_RATE_LIMIT_STORE"),
     ({"job_max_disk_bytes": "1000"}, "MAKUNOUCHI_JOB_MAX_BYTES: it is larger than MAKUNOUCHI_JOB_MAX_DISK_BYTES")],
)  # fmt: skip
def test_settings_that_exclude_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], fault: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"MAKUNOUCHI_{name.upper()}", value)
    with pytest.raises(SettingsInvalid, match=fault):
        load_settings(ServiceSettings, setting_faults)


def test_names_that_kubernetes_sets_for_a_service_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    links = {"SERVICE_HOST": "10.96.0.12", "SERVICE_PORT": "3000", "SERVICE_PORT_HTTP": "3000",
             "PORT": "tcp://10.96.0.12:3000", "PORT_3000_TCP": "tcp://10.96.0.12:3000", "PORT_3000_TCP_PROTO": "tcp",
             "PORT_3000_TCP_PORT": "3000", "PORT_3000_TCP_ADDR": "10.96.0.12", "PORT_53_UDP_ADDR": "10.96.0.12",
             "PORT_9_SCTP": "sctp://10.96.0.12:9"}  # fmt: skip
    for name, value in links.items():
        monkeypatch.setenv(f"MAKUNOUCHI_{name}", value)
    load_settings(ServiceSettings, setting_faults)


@pytest.mark.parametrize("name", ["PORTS", "SERVICE", "SERVICE_HOSTS", "PORT_HTTP", "PORT_3000_TCP_HOST"])
def test_names_that_kubernetes_does_not_set_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"MAKUNOUCHI_{name}", "3000")
    with pytest.raises(SettingsInvalid, match=f"unknown setting MAKUNOUCHI_{name}"):
        load_settings(ServiceSettings)


def test_printed_settings_hold_no_password(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MAKUNOUCHI_REDIS_URL", "redis://:hunter2@localhost")
    monkeypatch.setenv("MAKUNOUCHI_FEEDBACK_URL", "postgresql://me:hunter2@db/feedback")
    monkeypatch.setenv("MAKUNOUCHI_CORS_ORIGINS", '["https://shop.example"]')
    monkeypatch.setenv("MAKUNOUCHI_TABULAR_MODEL", "https://me:hunter2@host/churn?sig=hunter2")
    main([])
    printed = capsys.readouterr().out

    assert "hunter2" not in printed
    assert "MAKUNOUCHI_FEEDBACK_URL=postgresql://me:****@db/feedback" in printed
    assert "MAKUNOUCHI_TABULAR_MODEL=https://me:****@host/churn?****" in printed
    assert 'MAKUNOUCHI_CORS_ORIGINS=["https://shop.example"]' in printed
    for name in ServiceSettings.model_fields:
        assert f"MAKUNOUCHI_{name.upper()}=" in printed


def test_a_placeholder_password_is_refused_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKUNOUCHI_ENVIRONMENT", "production")
    monkeypatch.setenv("MAKUNOUCHI_API_KEYS", "a:admin:" + "0" * 64)
    for name in ("REDIS_URL", "FEEDBACK_URL"):
        monkeypatch.setenv(f"MAKUNOUCHI_{name}", "redis://me:changeme@localhost")
        with pytest.raises(SettingsInvalid, match=f"MAKUNOUCHI_{name}: its password is a placeholder"):
            load_settings(ServiceSettings, setting_faults)
        monkeypatch.setenv(f"MAKUNOUCHI_{name}", "redis://me:3hD8sk2@localhost")
        load_settings(ServiceSettings, setting_faults)

"""ServiceSettings: named when wrong, masked when printed, and all of them on their page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.errors import SettingsInvalid
from serving.access.production_checks import check_protection
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


def test_printed_settings_hold_no_password(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MAKUNOUCHI_REDIS_URL", "redis://:hunter2@localhost")
    monkeypatch.setenv("MAKUNOUCHI_FEEDBACK_URL", "postgresql://me:hunter2@db/feedback")
    monkeypatch.setenv("MAKUNOUCHI_CORS_ORIGINS", '["https://shop.example"]')
    main([])
    printed = capsys.readouterr().out

    assert "hunter2" not in printed
    assert "MAKUNOUCHI_FEEDBACK_URL=postgresql://me:****@db/feedback" in printed
    assert 'MAKUNOUCHI_CORS_ORIGINS=["https://shop.example"]' in printed
    for name in ServiceSettings.model_fields:
        assert f"MAKUNOUCHI_{name.upper()}=" in printed


def test_a_placeholder_password_is_refused_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKUNOUCHI_ENVIRONMENT", "production")
    monkeypatch.setenv("MAKUNOUCHI_API_KEYS", "a:admin:" + "0" * 64)
    for name in ("REDIS_URL", "FEEDBACK_URL"):
        monkeypatch.setenv(f"MAKUNOUCHI_{name}", "redis://me:changeme@localhost")
        with pytest.raises(SettingsInvalid, match=f"MAKUNOUCHI_{name}: its password is a placeholder"):
            check_protection(load_settings(ServiceSettings))
        monkeypatch.setenv(f"MAKUNOUCHI_{name}", "redis://me:3hD8sk2@localhost")
        check_protection(load_settings(ServiceSettings))

"""Settings with which the service does not start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.errors import SettingsInvalid
from serving.access.api_keys import hash_of
from serving.access.production_checks import check_runner_token, setting_faults
from serving.kinds.registry import ServiceSettings
from serving.settings.__main__ import main
from serving.settings.loading import load_settings

GOOD = f"a:admin:{hash_of('mk_a good one')}"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MAKUNOUCHI_"):
            monkeypatch.delenv(name)


def put(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"MAKUNOUCHI_{name.upper()}", value)


def test_development_starts_without_keys_and_production_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    load_settings(ServiceSettings, setting_faults)
    put(monkeypatch, environment="production")
    with pytest.raises(SettingsInvalid, match="MAKUNOUCHI_API_KEYS: production requires an API key"):
        load_settings(ServiceSettings, setting_faults)
    put(monkeypatch, api_keys=GOOD)
    load_settings(ServiceSettings, setting_faults)


def test_production_refuses_placeholder_keys_and_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, api_keys=f"a:admin:{hash_of('changeme')}")
    load_settings(ServiceSettings, setting_faults)
    put(monkeypatch, environment="production")
    with pytest.raises(SettingsInvalid, match="the key of 'a' is a placeholder"):
        load_settings(ServiceSettings, setting_faults)


def test_the_error_of_an_invalid_key_names_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(monkeypatch, api_keys="a:boss:" + "0" * 64)
    with pytest.raises(SettingsInvalid, match="MAKUNOUCHI_API_KEYS: API key 1: unknown role"):
        load_settings(ServiceSettings, setting_faults)
    put(monkeypatch, api_keys="", api_keys_file=str(tmp_path / "none"))
    with pytest.raises(SettingsInvalid, match=r"MAKUNOUCHI_API_KEYS_FILE: .*No such file"):
        load_settings(ServiceSettings, setting_faults)


def test_tokens_require_three_settings_and_https_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, jwt_issuer="i", jwt_jwks="http://issuer.example/keys")
    with pytest.raises(SettingsInvalid, match="MAKUNOUCHI_JWT_AUDIENCE"):
        load_settings(ServiceSettings, setting_faults)
    put(monkeypatch, jwt_audience="a")
    load_settings(ServiceSettings, setting_faults)
    put(monkeypatch, environment="production")
    with pytest.raises(SettingsInvalid, match=r"MAKUNOUCHI_JWT_JWKS: .*https"):
        load_settings(ServiceSettings, setting_faults)


def test_production_requires_a_token_for_runners_at_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, api_keys=GOOD, tabular_placement="http://10.0.0.2:3000")
    load_settings(ServiceSettings, setting_faults)
    put(monkeypatch, environment="production")
    with pytest.raises(SettingsInvalid, match="MAKUNOUCHI_RUNNER_TOKEN: production requires it"):
        load_settings(ServiceSettings, setting_faults)
    put(monkeypatch, runner_token="x" * 32)
    load_settings(ServiceSettings, setting_faults)
    put(monkeypatch, tabular_placement="process", runner_token="")
    with monkeypatch.context() as patched:
        patched.setenv("BENTOML_NO_UDS", "1")
        with pytest.raises(SettingsInvalid, match="MAKUNOUCHI_RUNNER_TOKEN"):
            load_settings(ServiceSettings, setting_faults)
    settings = load_settings(ServiceSettings)
    assert not [*setting_faults(settings)]
    with pytest.raises(SettingsInvalid, match="MAKUNOUCHI_RUNNER_TOKEN"):
        check_runner_token(settings)


@pytest.mark.parametrize("secret", ["short-secret", "x" * 31, "x" * 31 + " y", "x" * 32 + "\r\nx: y", "ü" * 40])
@pytest.mark.parametrize("name", ["runner_token", "redis_secret"])
def test_a_weak_secret_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, name: str, secret: str) -> None:
    put(monkeypatch, **{name: secret})
    with pytest.raises(SettingsInvalid, match=f"MAKUNOUCHI_{name.upper()}: expected at least 32") as caught:
        load_settings(ServiceSettings)
    assert secret not in str(caught.value)


def test_printed_settings_hide_the_keys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    put(monkeypatch, api_keys=GOOD)
    main([])
    assert GOOD[-20:] not in (printed := capsys.readouterr().out)
    assert "MAKUNOUCHI_API_KEYS=****" in printed


def test_runners_run_on_processors_of_this_machine_only() -> None:
    (fault,) = setting_faults(ServiceSettings(runner_cpus=(9999,)))
    assert fault == "setting MAKUNOUCHI_RUNNER_CPUS: this process may not run on 9999"

"""API keys: hashed lines, several keys, expiry, and a file that changes."""

from __future__ import annotations

import io
import os
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SettingsInvalid
from models.watch import failing
from serving.access.api_keys import KeyRing, hash_of, main, new_key, read_keys


def test_a_new_key_is_found_by_its_stored_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["new", "--name", "shop", "--role", "predict+read"])
    key, line = capsys.readouterr().out.split()

    identity = KeyRing(line).find(key)

    assert identity is not None
    assert (identity.name, sorted(identity.roles)) == ("shop", ["predict", "read"])
    assert key not in line
    assert len({new_key() for _ in range(50)}) == 50


def test_the_line_of_an_existing_key_is_made_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("mk_mine\n"))
    main(["hash", "--name", "shop", "--role", "read", "--days", "30"])
    (line,) = capsys.readouterr().out.split()

    assert line.startswith(f"shop:read:{hash_of('mk_mine')}:20")
    assert KeyRing(line).find("mk_mine") is not None


def test_two_keys_of_one_name_overlap_until_the_older_one_expires() -> None:
    now = 1_000_000_000.0  # 2001-09-09
    text = f"shop:predict:{hash_of('old')}:2001-09-10\nshop:predict:{hash_of('new')}"
    ring = KeyRing(text, clock=lambda: now)

    assert ring.find("old") == ring.find("new") is not None
    now += 2 * 86_400
    assert ring.find("old") is None
    assert ring.find("new") is not None


def test_a_changed_file_of_keys_is_reloaded_and_an_invalid_one_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    file = tmp_path / "keys"
    file.write_text(f"# ours\na:read:{hash_of('a')}\n")
    ring = KeyRing(file=str(file), clock=lambda: now)
    assert ring.find("a") is not None

    file.write_text(f"a:read:{hash_of('a')}\nbb:admin:{hash_of('b')}  # newer\n")
    now += 2
    assert ring.find("b") is not None

    file.write_text("broken")
    now += 2
    assert ring.find("b") is not None
    assert "the previous keys remain valid" in caplog.text

    file.unlink()
    now += 2
    assert ring.find("a") is not None

    file.write_text("")
    os.utime(file)
    now += 2
    assert ring.find("a") is None


def test_a_file_that_is_not_utf_8_leaves_the_keys_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    file = tmp_path / "keys"
    file.write_text(f"a:read:{hash_of('a')}\n")
    ring = KeyRing(file=str(file), clock=lambda: now)

    file.write_bytes(f"b:read:{hash_of('b')}\n".encode() + b"# caf\xe9\n")
    for _ in range(3):
        now += 2
        assert ring.find("a") is not None
        assert ring.find("b") is None
    assert [record.getMessage() for record in caplog.records] == [
        "cannot read the file of API keys, the previous keys remain valid: byte 77 is not valid utf-8"
    ]
    assert set(failing()) == {"api_keys_file"}

    file.write_text(f"\ufeffb:read:{hash_of('b')}\n")
    now += 2
    assert ring.find("a") is None
    assert ring.find("b") is not None
    assert failing() == {}


def test_a_file_that_is_not_utf_8_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xff")
    with pytest.raises(SettingsInvalid, match="cannot read the file of API keys: byte 0 is not valid utf-8"):
        KeyRing(file=str(tmp_path / "keys"))


def test_the_command_appends_to_a_file_that_only_its_owner_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys"
    main(["new", "--name", "shop", "--role", "predict", "--file", str(file)])
    shop = capsys.readouterr().out.strip()
    file.write_text(file.read_text().rstrip())
    file.chmod(0o644)
    main(["new", "--name", "boss", "--role", "admin", "--file", str(file)])
    boss = capsys.readouterr().out.strip()

    ring = KeyRing(file=str(file))
    assert [identity.name for key in (shop, boss) if (identity := ring.find(key))] == ["shop", "boss"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert shop not in file.read_text()


@pytest.mark.parametrize(
    "line",
    ["{key}", "{key}:predict", "shop:{key}", "shop:predict:{key}", "{key}:predict:{hash}", "a:read:{hash}:{key}"],
)
def test_a_key_in_place_of_a_line_is_neither_accepted_nor_shown(line: str, tmp_path: Path) -> None:
    key = new_key()
    for text in (line.format(key=key, hash=hash_of(key)), "# ours\n" + line.format(key=key, hash=hash_of(key))):
        with pytest.raises(SettingsInvalid, match="API key 1: ") as caught:
            read_keys(text)
        shown = "".join(traceback.format_exception(caught.value))
        assert key not in shown
        assert key[3:20] not in shown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("shop", "letters and digits|unknown role"),
        ("shop:boss:" + "a" * 64, "unknown role; expected read, predict, admin"),
        ("shop:read:abc", "expected a SHA-256"),
        ("shop:read:" + "A" * 64, "expected a SHA-256"),
        ("shop:read:" + "a" * 64 + ":soon", "is not a date"),
        (":read:" + "a" * 64, "expected name:role:sha256"),
    ],
)
def test_an_invalid_line_is_named_without_its_hash(line: str, message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message) as caught:
        read_keys(line)
    assert "aaaa" not in str(caught.value)


@given(st.text())
def test_any_text_is_read_or_refused_and_grants_nothing(text: str) -> None:
    try:
        ring = KeyRing(text)
    except SettingsInvalid:
        return
    assert ring.find(text) is None


@given(st.text())
def test_no_other_text_is_a_key(text: str) -> None:
    assert KeyRing(f"a:admin:{hash_of('mk_right')}").find(text) is None or text == "mk_right"

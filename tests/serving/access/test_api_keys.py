"""API keys: hashed lines, several keys, expiry, and a file that changes."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SettingsInvalid
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

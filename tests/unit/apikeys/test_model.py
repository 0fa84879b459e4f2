from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.apikeys.model import ApiKey, digest_of, is_our_making, key_id_of, new_text
from sekisho.identity import KeyPolicy
from sekisho.ids import AccountId, KeyId

ID, SECRET = "qfTQ6KG0QBiwWdJ0-pCLCA", "x" * 43


def test_a_new_key_has_the_vendors_form_and_our_checksum() -> None:
    texts = {new_text().reveal() for _ in range(300)}
    assert len(texts) == 300
    for text in texts:
        assert re.fullmatch(rb"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}", text)
        assert len(text) == 69
        assert text[3:4] != b"-"
        assert is_our_making(text)
        assert key_id_of(text) == text[3:25].decode()


def test_the_checksum_notices_a_changed_character() -> None:
    text = new_text().reveal()
    for at in (3, 20, 26, 60, 68):
        other = bytearray(text)
        other[at] = ord("A") if text[at] != ord("A") else ord("B")
        assert not is_our_making(bytes(other))
    assert not is_our_making(f"SG.{ID}.{SECRET}".encode())
    assert not is_our_making(b"")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"SG.",
        f"SG.{ID}.{SECRET}\n".encode(),
        f"SG.{ID}.{SECRET} ".encode(),
        f" SG.{ID}.{SECRET}".encode(),
        f"sg.{ID}.{SECRET}".encode(),
        f"SG.{ID}.{SECRET}x".encode(),
        f"SG.{ID}.{SECRET[:-1]}".encode(),
        f"SG.{ID}=.{SECRET}".encode(),
        f"SG.{ID[:-1]}+.{SECRET}".encode(),
        f"SG.{ID[:-1]}/.{SECRET}".encode(),
        f"SG_{ID}_{SECRET}".encode(),
        f"SG.{ID}.{SECRET[:-2]}é".encode(),
        f"SG.{ID}.{SECRET[:-1]}\0".encode(),
    ],
)
def test_what_has_not_the_form_is_no_key(text: bytes) -> None:
    assert key_id_of(text) is None


@given(text=st.binary(max_size=100))
def test_reading_never_fails(text: bytes) -> None:
    assert (key_id_of(text) is not None) == bool(re.fullmatch(rb"SG\.[\w-]{22}\.[\w-]{43}", text, re.ASCII))


def test_the_digest_is_of_the_characters() -> None:
    text = f"SG.{ID}.{SECRET}".encode()
    assert key_id_of(text) == ID
    assert digest_of(text) == hashlib.sha256(text).digest()


KEY = ApiKey(
    KeyId(ID),
    AccountId(1),
    None,
    "n",
    None,
    KeyPolicy(),
    imported=False,
    created_ms=0,
    revoked_ms=None,
    compromised=False,
)


@pytest.mark.parametrize(
    ("key", "state"),
    [
        (KEY, "active"),
        (replace(KEY, policy=KeyPolicy(expires_ms=101)), "active"),
        (replace(KEY, policy=KeyPolicy(expires_ms=100)), "expired"),
        (replace(KEY, revoked_ms=1, policy=KeyPolicy(expires_ms=100)), "revoked"),
        (replace(KEY, revoked_ms=1, compromised=True), "compromised"),
    ],
)
def test_a_key_is_in_one_state(key: ApiKey, state: str) -> None:
    assert key.state(100) == state


def test_a_subusers_full_access_is_less_than_its_parents() -> None:
    assert "subusers.read" in KEY.scopes
    assert "subusers.read" not in replace(KEY, subuser_id=AccountId(2)).scopes

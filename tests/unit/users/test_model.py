from __future__ import annotations

import msgspec
import pytest

from sekisho.users.model import Profile, decode_profile, decode_scopes, encode_profile, encode_scopes


@pytest.mark.parametrize("scopes", [None, frozenset(), frozenset({"b.read", "a.read"})])
def test_scopes_are_read_as_they_were_written(scopes: frozenset[str] | None) -> None:
    assert decode_scopes(encode_scopes(scopes)) == scopes


@pytest.mark.parametrize("text", ["", "null", "{}", '"mail.send"', "[1]", "["])
def test_scopes_that_cannot_be_read_are_a_fault_and_never_all(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_scopes(text)


@pytest.mark.parametrize("profile", [Profile(), Profile(first_name="Ann", zip="92868"), Profile(address2="…")])
def test_a_profile_is_read_as_it_was_written(profile: Profile) -> None:
    assert decode_profile(encode_profile(profile)) == profile

"""What is believed of a provider's own description."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.oidc.provider import Provider, Trouble, address_fault, read_provider
from tests.fakes.openid import ISSUER, METADATA, provider


def test_only_signatures_that_it_alone_can_make_are_taken() -> None:
    assert provider().algorithms == {"ES256"}
    assert provider(id_token_signing_alg_values_supported=["RS256", "EdDSA"]).algorithms == {"RS256", "EdDSA"}


def test_how_a_client_shows_its_secret_is_as_the_standard_says_when_nothing_is_said() -> None:
    assert provider().takes_basic
    assert not provider(token_endpoint_auth_methods_supported=["client_secret_post"]).takes_basic


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"issuer": ISSUER + "/"}, "another issuer"),
        ({"issuer": "https://evil.test"}, "another issuer"),
        ({"token_endpoint": "http://id.example.test/token"}, "must begin with https://"),
        ({"jwks_uri": "file:///etc/passwd"}, "not an address"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "not an address"),
        ({"userinfo_endpoint": "https://a@b.test/"}, "no user name"),
        ({"authorization_endpoint": "https://b.test/\r\nX: y"}, "not an address"),
        ({"id_token_signing_alg_values_supported": ["none", "HS256"]}, "signs with nothing"),
        ({"token_endpoint": 7}, "cannot be read"),
    ],
)
def test_what_is_not_right_is_refused_whole(changes: dict[str, Any], why: str) -> None:
    found = read_provider(json.dumps(METADATA | changes).encode(), ISSUER)
    assert isinstance(found, Trouble)
    assert why in found.reason


@given(st.binary(max_size=200))
def test_nonsense_is_trouble(document: bytes) -> None:
    assert isinstance(read_provider(document, ISSUER), Trouble)


@pytest.mark.parametrize(
    ("url", "may_be_clear", "wrong"),
    [
        ("https://id.test/realm", False, None),
        ("http://localhost:80/x", True, None),
        ("http://127.0.0.1/x", True, None),
        ("http://[::1]:3000", True, None),
        ("http://localhost/x", False, "must begin with https://"),
        ("http://id.test/x", True, "must begin with https://"),
        ("https://", False, "is not an address"),
        ("https://id.test:0", False, "is not an address"),
        ("https://id.test:99999", False, "is not an address"),
        ("https://id.test/#x", False, "must have no user name and no fragment"),
    ],
)
def test_addresses_are_safe_or_this_machine_s(url: str, may_be_clear: bool, wrong: str | None) -> None:
    assert address_fault(url, may_be_clear=may_be_clear) == wrong


def test_on_this_machine_clear_text_is_enough() -> None:
    issuer = "http://localhost:3000"
    document = {name: f"{issuer}/{name}" for name in METADATA if name.endswith(("endpoint", "uri"))}
    assert isinstance(read_provider(json.dumps(document | {"issuer": issuer}).encode(), issuer), Provider)

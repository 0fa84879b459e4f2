"""The way to a provider and back."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.oidc.model import JOURNEY_MS, Journey, code_in, unseal
from sekisho.oidc.provider import Trouble
from sekisho.sealing import MasterKey, Sealer
from sekisho.secret import Secret
from tests.fakes.openid import ISSUER, JOURNEY, NOW_S, REGISTRATION, provider

SEALER = Sealer([MasterKey(b"abcd", Secret(bytes(32)))])
NOW_MS = NOW_S * 1000


def test_where_somebody_is_sent_says_all_that_the_provider_needs_and_no_secret() -> None:
    address = JOURNEY.address(provider(), REGISTRATION)
    assert address.startswith(f"{ISSUER}/auth?kind=1&")
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    challenge = base64.urlsafe_b64encode(hashlib.sha256(JOURNEY.verifier.encode()).digest()).rstrip(b"=").decode()
    assert query == {
        "kind": "1", "response_type": "code", "client_id": "sekisho", "scope": "openid email", "ui_locales": "ja",
        "redirect_uri": REGISTRATION.redirect_uri, "state": JOURNEY.state, "nonce": JOURNEY.nonce,
        "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    assert JOURNEY.verifier not in address


def test_each_journey_has_secrets_of_its_own() -> None:
    one, two = (Journey.begin(os.urandom(96), next_path="/", language="en", now_ms=0) for _ in range(2))
    secrets = [one.state, one.nonce, one.verifier, two.state, two.nonce, two.verifier]
    assert len(set(secrets)) == 6
    assert all(len(secret) >= 43 for secret in secrets)


def test_it_is_remembered_in_the_browser_unreadably_and_not_for_long() -> None:
    cookie = JOURNEY.sealed(SEALER)
    assert JOURNEY.state not in cookie
    assert len(cookie) < 1000
    assert unseal(cookie, SEALER, now_ms=NOW_MS + JOURNEY_MS - 1) == JOURNEY
    assert unseal(cookie, SEALER, now_ms=NOW_MS + JOURNEY_MS) is None
    assert unseal(cookie, Sealer([MasterKey(b"abce", Secret(bytes(32)))]), now_ms=NOW_MS) is None
    assert unseal(cookie[:-2] + "AA", SEALER, now_ms=NOW_MS) is None


@given(st.text(max_size=100))
def test_what_is_not_ours_is_none(cookie: str) -> None:
    assert unseal(cookie, SEALER, now_ms=NOW_MS) is None


@pytest.mark.parametrize("query", [{}, {"iss": ISSUER}])
def test_the_code_is_taken_from_the_answer_to_our_request(query: dict[str, str]) -> None:
    assert code_in({"code": "c", "state": JOURNEY.state, **query}, JOURNEY, provider()) == "c"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"state": ""}, "another request"),
        ({"state": "x"}, "another request"),
        ({"state": "é"}, "another request"),
        ({"iss": "https://evil.test"}, "another issuer"),
        ({"error": "access_denied"}, "refused: access_denied"),
        ({"error": "<b>\r\n\u00e9" + "x" * 100}, "refused: <b>"),
        ({"code": ""}, "no code"),
        ({"code": "x" * 5000}, "no code"),
    ],
)
def test_any_other_answer_is_trouble(changes: dict[str, str], why: str) -> None:
    found = code_in({"code": "c", "state": JOURNEY.state} | changes, JOURNEY, provider())
    assert isinstance(found, Trouble)
    assert why in found.reason
    assert found.reason.isprintable()
    assert len(found.reason) < 100


def test_a_provider_that_names_itself_must_be_named() -> None:
    changes: dict[str, Any] = {"authorization_response_iss_parameter_supported": True}
    query = {"code": "c", "state": JOURNEY.state}
    assert isinstance(code_in(query, JOURNEY, provider(**changes)), Trouble)
    assert code_in(query | {"iss": ISSUER}, JOURNEY, provider(**changes)) == "c"

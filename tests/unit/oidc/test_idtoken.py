"""Nothing is believed of a token with one thing wrong about it."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, KeySet, RSAKey

from sekisho.oidc.idtoken import Outsider, has_second_factor, key_id, read_keys, read_token, read_userinfo
from sekisho.oidc.provider import Trouble
from tests.fakes.openid import ISSUER, JOURNEY, NOW_S, FakeProvider, claims, provider

FAKE = FakeProvider()


def read(token: str, keys: KeySet | None = None, **described: Any) -> Outsider | Trouble:
    return read_token(
        token,
        keys or KeySet([FAKE.key]),
        provider(**described),
        client_id="sekisho",
        nonce=JOURNEY.nonce,
        now_ms=NOW_S * 1000,
    )


def test_a_good_one_says_who_somebody_is() -> None:
    assert read(FAKE.token()) == Outsider(ISSUER, "ann-1", "ann@example.test", frozenset({"pwd"}))
    assert key_id(FAKE.token()) == "one"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://evil.test"}, "another issuer"),
        ({"iss": None}, "cannot be read"),
        ({"aud": "other"}, "somebody else"),
        ({"aud": ["other"]}, "somebody else"),
        ({"aud": ["sekisho", "other"]}, "made for somebody else"),
        ({"aud": ["sekisho", "other"], "azp": "other"}, "made for somebody else"),
        ({"azp": "other"}, "made for somebody else"),
        ({"exp": NOW_S - 121}, "expired"),
        ({"exp": None}, "cannot be read"),
        ({"exp": "soon"}, "cannot be read"),
        ({"iat": NOW_S - 601}, "just now"),
        ({"iat": NOW_S + 121}, "just now"),
        ({"iat": None}, "cannot be read"),
        ({"nbf": NOW_S + 121}, "not good yet"),
        ({"nonce": "x"}, "another request"),
        ({"nonce": "é"}, "another request"),
        ({"nonce": None}, "cannot be read"),
        ({"sub": ""}, "names nobody"),
        ({"sub": "x" * 256}, "names nobody"),
        ({"sub": "\u00e9"}, "names nobody"),
        ({"sub": "a\nb"}, "names nobody"),
        ({"sub": None}, "cannot be read"),
    ],
)
def test_one_wrong_claim_is_enough(changes: dict[str, Any], why: str) -> None:
    found = read(FAKE.token(**changes))
    assert isinstance(found, Trouble)
    assert why in found.reason


@pytest.mark.parametrize("audience", ["sekisho", ["sekisho"], ["other", "sekisho"]])
def test_it_may_be_for_others_too_when_it_was_made_for_us(audience: Any) -> None:
    assert isinstance(read(FAKE.token(aud=audience, azp="sekisho")), Outsider)


def unsigned(**header: Any) -> str:
    parts = (json.dumps(part).encode() for part in (header, claims()))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def test_a_token_that_nobody_signed_is_refused() -> None:
    assert isinstance(read(unsigned(alg="none")), Trouble)
    assert isinstance(read(unsigned(alg="none", kid="one"), id_token_signing_alg_values_supported=["ES256"]), Trouble)


def test_a_signature_by_another_key_is_none() -> None:
    other = ECKey.generate_key("P-256", {"kid": "one"})
    assert isinstance(read(FAKE.token(other)), Trouble)
    head, body, signature = FAKE.token().split(".")
    changed = base64.urlsafe_b64encode(json.dumps(claims(sub="bob")).encode()).rstrip(b"=").decode()
    assert isinstance(read(f"{head}.{changed}.{signature}"), Trouble)
    assert isinstance(read(f"{head}.{body}."), Trouble)


def test_a_key_that_is_not_published_is_none() -> None:
    assert isinstance(read(FAKE.token(ECKey.generate_key("P-256", {"kid": "two"}))), Trouble)


def test_the_public_key_is_nobody_s_shared_secret() -> None:
    """The old trick: sign with HMAC, keyed with what everybody knows."""
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "HS256", "kid": "one"}, claims())
    )
    digest = hmac.digest(FAKE.key.as_pem(private=False), f"{head}.{body}".encode(), "sha256")
    forged = f"{head}.{body}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    assert isinstance(read(forged), Trouble)
    assert isinstance(read(forged, id_token_signing_alg_values_supported=["HS256", "ES256"]), Trouble)


def test_an_algorithm_that_the_provider_does_not_use_is_refused() -> None:
    rsa = RSAKey.generate_key(2048, {"kid": "rsa"})
    token = FAKE.token(rsa, "RS256")
    keys = KeySet([rsa])
    assert isinstance(read(token, keys), Trouble)
    assert isinstance(read(token, keys, id_token_signing_alg_values_supported=["RS256"]), Outsider)


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_address_that_is_not_verified_is_none(verified: Any) -> None:
    found = read(FAKE.token(email_verified=verified))
    assert isinstance(found, Outsider)
    assert found.email is None


@given(st.text(max_size=300))
def test_nonsense_is_trouble(token: str) -> None:
    assert isinstance(read(token), Trouble)
    assert key_id(token) is None


@given(st.binary(max_size=300))
def test_nonsense_is_no_key_set(document: bytes) -> None:
    assert isinstance(read_keys(document), Trouble)


@pytest.mark.parametrize("document", [b"[]", b"{}", b'{"keys": 1}', b'{"keys": [1]}', b'{"keys": [{"kty": "RSA"}]}'])
def test_half_a_key_set_is_none(document: bytes) -> None:
    assert isinstance(read_keys(document), Trouble)


@pytest.mark.parametrize(
    ("document", "email"),
    [
        ({"sub": "ann-1", "email": "a@b.test", "email_verified": True}, "a@b.test"),
        ({"sub": "ann-1", "email": "a@b.test"}, None),
        ({"sub": "ann-1", "email": "a@b.test", "email_verified": "true"}, None),
        ({"sub": "ann-1"}, None),
    ],
)
def test_an_answer_about_somebody_gives_the_verified_address(document: Any, email: str | None) -> None:
    assert read_userinfo(json.dumps(document).encode(), "ann-1") == email


def test_an_answer_about_somebody_else_is_not_taken() -> None:
    document = {"sub": "bob", "email": "a@b.test", "email_verified": True}
    assert isinstance(read_userinfo(json.dumps(document).encode(), "ann-1"), Trouble)


@pytest.mark.parametrize(
    ("methods", "counts"),
    [
        ((), False),
        (("pwd",), False),
        (("mfa",), True),
        (("pwd", "mfa"), True),
        (("pwd", "otp"), True),
        (("otp",), False),
        (("hwk",), False),
        (("hwk", "pin"), True),
        (("pwd", "sms"), False),
        (("pwd", "kba"), False),
    ],
)
def test_an_outside_second_factor_counts_only_when_the_provider_says_that_there_were_two(
    methods: tuple[str, ...], counts: bool
) -> None:
    assert has_second_factor(frozenset(methods), frozenset({"mfa", "otp", "hwk"})) is counts


def test_what_the_operator_does_not_count_does_not_count() -> None:
    assert not has_second_factor(frozenset({"pwd", "mfa"}), frozenset({"hwk"}))

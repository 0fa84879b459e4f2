"""A code becomes a person; what the provider said is remembered for a while, and never for longer."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from joserfc.jwk import ECKey

from sekisho.oidc import client
from sekisho.oidc.client import Client
from sekisho.oidc.idtoken import Outsider
from sekisho.oidc.model import Registration
from sekisho.oidc.provider import Trouble
from sekisho.ports.web import Answer, NoAnswer
from tests.fakes.clock import FakeClock
from tests.fakes.openid import ISSUER, JOURNEY, METADATA, NOW_S, REGISTRATION, FakeProvider

QUERY = {"code": "the code", "state": JOURNEY.state}
ANN = Outsider(ISSUER, "ann-1", "ann@example.test", frozenset({"pwd"}))
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"


@dataclasses.dataclass
class World:
    provider: FakeProvider
    clock: FakeClock
    client: Client

    def asked(self, url: str) -> int:
        return sum(question.url == url for question in self.provider.web.asked)


def world(registration: Registration = REGISTRATION) -> World:
    provider, clock = FakeProvider(), FakeClock(NOW_S * 1000)
    return World(provider, clock, Client(registration, provider.web, clock))


async def test_a_code_becomes_a_person() -> None:
    it = world()
    assert await it.client.finish(JOURNEY, QUERY) == ANN
    token = it.provider.web.asked[1]
    assert token.form == {
        "grant_type": "authorization_code",
        "code": "the code",
        "redirect_uri": REGISTRATION.redirect_uri,
        "code_verifier": JOURNEY.verifier,
    }
    assert token.basic is not None
    assert (token.basic[0], token.basic[1].reveal()) == ("sekisho", "s3%2Fcret")


async def test_a_secret_goes_in_the_form_where_the_provider_wants_it_there() -> None:
    it = world()
    it.provider.describe(token_endpoint_auth_methods_supported=["client_secret_post"])
    assert await it.client.finish(JOURNEY, QUERY) == ANN
    token = it.provider.web.asked[1]
    assert token.basic is None
    assert token.form is not None
    assert (token.form["client_id"], token.form["client_secret"]) == ("sekisho", "s3/cret")


async def test_a_public_client_has_none() -> None:
    it = world(dataclasses.replace(REGISTRATION, client_secret=None))
    assert await it.client.finish(JOURNEY, QUERY) == ANN
    assert it.provider.web.asked[1].basic is None
    assert "client_secret" not in (it.provider.web.asked[1].form or {})


async def test_nothing_is_sent_for_a_response_that_is_not_ours() -> None:
    it = world()
    assert isinstance(await it.client.finish(JOURNEY, {"code": "c", "state": "x"}), Trouble)
    assert it.asked(METADATA["token_endpoint"]) == 0


async def test_only_the_issuer_s_own_host_may_be_inside() -> None:
    it = world()
    await it.client.finish(JOURNEY, QUERY)
    may = {question.url: question.may_be_private for question in it.provider.web.asked}
    assert may == {DISCOVERY: True, METADATA["token_endpoint"]: True, METADATA["jwks_uri"]: False}


async def test_the_description_is_remembered_for_a_while() -> None:
    it = world()
    for _ in range(3):
        assert str(await it.client.address(JOURNEY)).startswith(METADATA["authorization_endpoint"])
    assert it.asked(DISCOVERY) == 1
    it.clock.go(client.REMEMBERED_S)
    await it.client.address(JOURNEY)
    assert it.asked(DISCOVERY) == 2


@pytest.mark.parametrize("answer", [NoAnswer("gone"), Answer(500, b"{}"), Answer(200, b"<html>"), Answer(302, b"")])
@pytest.mark.parametrize("url", [DISCOVERY, METADATA["token_endpoint"], METADATA["jwks_uri"]])
async def test_a_provider_that_is_not_well_is_trouble_and_asked_again(url: str, answer: Answer | NoAnswer) -> None:
    it = world()
    good, it.provider.web.pages[url] = it.provider.web.pages[url], answer
    assert isinstance(await it.client.finish(JOURNEY, QUERY), Trouble)
    it.provider.web.pages[url] = good
    assert await it.client.finish(JOURNEY, QUERY) == ANN


async def test_a_new_key_is_looked_for_but_not_each_time_somebody_names_one() -> None:
    it = world()
    await it.client.finish(JOURNEY, QUERY)
    new = ECKey.generate_key("P-256", {"kid": "two"})
    it.provider.grant(it.provider.token(new))
    for _ in range(3):
        assert isinstance(await it.client.finish(JOURNEY, QUERY), Trouble)
    assert it.asked(METADATA["jwks_uri"]) == 1
    it.provider.publish(it.provider.key, new)
    it.clock.go(client.KEYS_PAUSE_S)
    assert await it.client.finish(JOURNEY, QUERY) == ANN
    assert it.asked(METADATA["jwks_uri"]) == 2


async def test_a_key_that_is_withdrawn_is_forgotten() -> None:
    it = world()
    await it.client.finish(JOURNEY, QUERY)
    it.provider.publish(ECKey.generate_key("P-256", {"kid": "two"}))
    assert await it.client.finish(JOURNEY, QUERY) == ANN
    it.clock.go(client.REMEMBERED_S)
    it.provider.grant(it.provider.token(iat=NOW_S + 3600, exp=NOW_S + 3900))
    assert isinstance(await it.client.finish(JOURNEY, QUERY), Trouble)


@pytest.mark.parametrize(
    ("answer", "email"),
    [
        ({"sub": "ann-1", "email": "ann@example.test", "email_verified": True}, "ann@example.test"),
        ({"sub": "ann-1", "email": "ann@example.test", "email_verified": False}, None),
    ],
)
async def test_an_address_that_is_not_in_the_token_is_asked_for(answer: Any, email: str | None) -> None:
    it = world()
    it.provider.grant(it.provider.token(email=None), access_token="access")
    it.provider.put(METADATA["userinfo_endpoint"], answer)
    assert await it.client.finish(JOURNEY, QUERY) == dataclasses.replace(ANN, email=email)
    bearer = it.provider.web.asked[-1].bearer
    assert bearer is not None
    assert bearer.reveal() == "access"


async def test_an_address_of_somebody_else_is_trouble() -> None:
    it = world()
    it.provider.grant(it.provider.token(email=None), access_token="access")
    it.provider.put(METADATA["userinfo_endpoint"], {"sub": "bob", "email": "bob@example.test", "email_verified": True})
    assert isinstance(await it.client.finish(JOURNEY, QUERY), Trouble)

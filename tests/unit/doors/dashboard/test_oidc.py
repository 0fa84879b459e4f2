"""Logging in by the word of an OpenID Provider: what it opens, and what it never does."""

from __future__ import annotations

import dataclasses
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from sekisho import oidc
from sekisho.accounts import Account
from sekisho.doors.dashboard.app import build
from sekisho.oidc import Client
from sekisho.sessions import Method, Stage
from sekisho.sessions.tables import session
from sekisho.users import Role, User
from tests.fakes.control import BY, audited
from tests.fakes.dashboard import Browser, Dashboard
from tests.fakes.openid import ISSUER, METADATA, REGISTRATION, FakeProvider

TWO = ["pwd", "otp"]


@pytest.fixture
def provider(dashboard: Dashboard) -> FakeProvider:
    """The dashboard's, as the operator has configured it."""
    provider = FakeProvider()
    client = Client(REGISTRATION, provider.web, dashboard.clock)
    dashboard.parts = dataclasses.replace(dashboard.parts, oidc=client)
    dashboard.app = build(dashboard.parts)
    return provider


async def there_and_back(browser: Browser, provider: FakeProvider, **claims: Any) -> httpx.Response:
    """Go to the provider, be let in with these claims, and come back."""
    left = await browser.client.get("/login/oidc?next=%2Fkeys")
    address = urlsplit(left.headers["location"])
    assert left.headers["location"].startswith(METADATA["authorization_endpoint"])
    query = {name: values[0] for name, values in parse_qs(address.query).items()}
    now_s = browser.dashboard.clock.now_ms() // 1000
    said: dict[str, Any] = {"nonce": query["nonce"], "iat": now_s, "exp": now_s + 300} | claims
    provider.grant(provider.token(**({"email": "ann@example.com"} | said)))
    return await browser.get(f"/login/oidc/callback?code=c&state={query['state']}")


def stages(dashboard: Dashboard) -> list[tuple[str, str]]:
    with dashboard.control.connect() as tx:
        return [(row.stage, row.method) for row in tx.execute(session.select())]


def link(dashboard: Dashboard, person: User) -> None:
    with dashboard.control.begin() as tx:
        assert oidc.link(tx, person, ISSUER, "ann-1", by=BY)


async def test_the_way_there_is_shown_where_there_is_one(dashboard: Dashboard, provider: FakeProvider) -> None:
    browser = Browser(dashboard)
    await browser.get("/login")
    assert "Log in through Example" in browser.text
    assert provider.web.asked == []


async def test_without_a_provider_there_is_none(browser: Browser) -> None:
    await browser.get("/login")
    assert "/login/oidc" not in browser.text
    for path in ("/login/oidc", "/login/oidc/callback"):
        assert (await browser.get(path)).status_code == 404


@pytest.mark.parametrize("amr", [["pwd"], TWO, ["mfa"]])
async def test_known_by_address_alone_one_shows_the_second_factor_whatever_was_shown_there(
    dashboard: Dashboard, provider: FakeProvider, ann: User, browser: Browser, amr: list[str]
) -> None:
    await there_and_back(browser, provider, amr=amr)
    assert browser.path.startswith("/login/second")
    assert stages(dashboard) == [(Stage.PASSWORD.value, "")]
    assert ann.login_email == "ann@example.com"


async def test_an_offer_links_the_two_once(
    dashboard: Dashboard, provider: FakeProvider, ann: User, browser: Browser
) -> None:
    await there_and_back(browser, provider)
    await browser.post(browser.path, {"next": browser.hidden("next"), "code": dashboard.code(ann)})
    assert browser.path.startswith("/login/oidc/link")
    await browser.post("/login/oidc/link", {"offer": browser.hidden("offer")})
    assert browser.path == "/"
    # The subject is an address, and so in the part that can be erased.
    assert ("user.oidc_link", "") in audited(dashboard.control)


@pytest.mark.parametrize("case", [(["pwd"], "/login/second?next=%2Fkeys"), (TWO, "/keys")])
async def test_of_a_linked_person_an_outside_second_factor_counts_if_there_was_one(
    dashboard: Dashboard, provider: FakeProvider, ann: User, browser: Browser, case: tuple[list[str], str]
) -> None:
    amr, path = case
    link(dashboard, ann)
    await there_and_back(browser, provider, amr=amr)
    assert browser.path == path


async def test_an_outside_second_factor_is_no_step_up(
    dashboard: Dashboard, provider: FakeProvider, ann: User, browser: Browser
) -> None:
    link(dashboard, ann)
    await there_and_back(browser, provider, amr=TWO)
    assert stages(dashboard) == [(Stage.FULL.value, Method.OIDC.value)]
    await browser.post("/keys", {"name": "n", "access": "send"})
    assert "code" in browser.text
    with dashboard.control.connect() as tx:
        assert [row.stepped_up_ms for row in tx.execute(session.select())] == [None]


async def test_who_has_no_second_factor_here_enrols_one(
    dashboard: Dashboard, provider: FakeProvider, acme: Account, browser: Browser
) -> None:
    bob = dashboard.a_person(acme, totp=False)
    link(dashboard, bob)
    await there_and_back(browser, provider, amr=TWO)
    assert stages(dashboard) == [(Stage.ENROL.value, "")]


@pytest.mark.parametrize(
    "claims",
    [{"email": "bob@example.com"}, {"email_verified": False}, {"email": None}, {"nonce": "x"}, {"aud": "other"}],
)
@pytest.mark.usefixtures("ann")
async def test_anybody_else_is_sent_to_the_log_in_by_password(
    dashboard: Dashboard, provider: FakeProvider, browser: Browser, claims: dict[str, Any]
) -> None:
    assert (await there_and_back(browser, provider, **claims)).status_code == 422
    assert 'name="password"' in browser.text
    assert stages(dashboard) == []


@pytest.mark.usefixtures("ann")
async def test_a_response_that_this_browser_did_not_ask_for_is_nothing(
    dashboard: Dashboard, provider: FakeProvider, browser: Browser
) -> None:
    other = Browser(dashboard)
    left = await other.client.get("/login/oidc")
    state = parse_qs(urlsplit(left.headers["location"]).query)["state"][0]
    asked = len(provider.web.asked)
    assert (await browser.get(f"/login/oidc/callback?code=c&state={state}")).status_code == 422
    assert len(provider.web.asked) == asked
    assert stages(dashboard) == []


async def test_an_offer_is_one_person_s(dashboard: Dashboard, provider: FakeProvider, acme: Account, ann: User) -> None:
    browser, other = Browser(dashboard), Browser(dashboard)
    await there_and_back(browser, provider)
    await browser.post(browser.path, {"next": browser.hidden("next"), "code": dashboard.code(ann)})
    await other.enter(dashboard.a_person(acme, "bob@example.com", role=Role.ADMIN))
    assert (await other.get(browser.path)).status_code == 422
    assert (await other.get("/login/oidc/link?offer=AAAA")).status_code == 422


async def test_a_link_is_undone_where_factors_are_kept(dashboard: Dashboard, provider: FakeProvider, ann: User) -> None:
    assert provider.web.asked == []
    link(dashboard, ann)
    browser = Browser(dashboard)
    await browser.enter(ann)
    await browser.get("/security")
    assert "Log-in through Example" in browser.text
    await browser.post("/security/oidc/unlink")
    assert (browser.page.status_code, browser.path) == (200, "/security")
    assert "/security/oidc/unlink" not in browser.text
    with dashboard.control.connect() as tx:
        assert not oidc.is_linked(tx, ann.id, ISSUER)
    # The subject is an address, and so in the part that can be erased.
    assert ("user.oidc_unlink", "") in audited(dashboard.control)

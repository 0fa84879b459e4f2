from __future__ import annotations

import pytest

from sekisho.accounts import Account
from sekisho.users import Role, User, user_by_id
from tests.fakes.control import a_subuser, an_account
from tests.fakes.dashboard import Browser, Dashboard


@pytest.fixture
def shop(dashboard: Dashboard, acme: Account) -> Account:
    with dashboard.control.begin() as tx:
        return a_subuser(tx, acme)


async def test_an_owner_acts_for_a_subuser_and_goes_back(browser: Browser, shop: Account, ann: User) -> None:
    await browser.enter(ann)
    await browser.post("/act-for", {"subuser": shop.name})
    assert browser.heading() == "shop"
    assert "You are acting for the subuser shop." in browser.text
    # What is the parent's own affair is not to be had meanwhile.
    assert 'href="/subusers"' not in browser.text
    assert (await browser.client.get("/subusers")).status_code == 403
    await browser.post("/act-for")
    assert browser.heading() == "acme"
    assert "own account again" in browser.text


async def test_nobody_acts_for_what_is_not_his(
    dashboard: Dashboard, browser: Browser, acme: Account, shop: Account, ann: User
) -> None:
    with dashboard.control.begin() as tx:
        a_subuser(tx, an_account(tx, "other"), "theirs")
    await browser.enter(ann)
    for name in ("theirs", "nobody", "other", "acme"):
        answer = await browser.client.post("/act-for", data={"csrf": browser.csrf, "subuser": name})
        assert answer.status_code == 404, name
    for name, role, scopes in (("tom", Role.TEAMMATE, frozenset({"subusers.read"})), ("sam", Role.OWNER, None)):
        tenant = acme if role is Role.TEAMMATE else shop
        await browser.enter(dashboard.a_person(tenant, name, role=role, scopes=scopes))
        answer = await browser.client.post("/act-for", data={"csrf": browser.csrf, "subuser": "shop"})
        assert answer.status_code == 404, name


async def test_the_language_is_the_browser_s_until_somebody_is_logged_in(
    dashboard: Dashboard, browser: Browser, ann: User
) -> None:
    await browser.get("/login?next=/sessions")
    await browser.post("/language", {"language": "ja", "next": browser.hidden("next")}, follow=False)
    await browser.get("/login")
    assert '<html lang="ja">' in browser.text
    await browser.enter(ann)
    assert '<html lang="ja">' in browser.text
    await browser.post("/language", {"language": "en", "next": "/sessions"})
    assert browser.path == "/sessions"
    assert '<html lang="en">' in browser.text
    with dashboard.control.connect() as tx:
        person = user_by_id(tx, ann.id)
    assert person is not None
    assert person.language == "en"


async def test_languages_are_a_closed_list_and_lead_nowhere_else(browser: Browser) -> None:
    await browser.get("/login")
    assert (await browser.post("/language", {"language": "../en"}, follow=False)).status_code == 400
    answer = await browser.post("/language", {"language": "ja", "next": "//evil.example"}, follow=False)
    assert answer.headers["location"] == "/"

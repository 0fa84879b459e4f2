from __future__ import annotations

import pytest

from sekisho import teammates
from sekisho.accounts import Account
from sekisho.apikeys.groups import GROUPS
from sekisho.users import Role, User
from tests.fakes.control import audited
from tests.fakes.dashboard import Browser, Dashboard


@pytest.fixture
def tim(dashboard: Dashboard, acme: Account) -> User:
    return dashboard.a_person(acme, "tim", role=Role.TEAMMATE, scopes=frozenset(GROUPS["Templates"]))


async def test_a_teammate_asks_for_a_group_that_he_lacks_and_managers_see_it(
    dashboard: Dashboard, browser: Browser, acme: Account, tim: User
) -> None:
    await browser.enter(tim)
    await browser.get("/account")
    assert '<option value="Alerts">' in browser.text
    assert '<option value="Templates">' not in browser.text
    await browser.post("/account/scopes", {"group": "Alerts"})
    assert (browser.page.status_code, browser.path) == (200, "/account")
    with dashboard.control.connect() as tx:
        (asked,) = teammates.requests_of(tx, acme.id)
    assert (asked.person.username, asked.request.group) == ("tim", "Alerts")
    assert ("teammate.ask", "tim") in audited(dashboard.control)


@pytest.mark.parametrize("group", ["", "Templates", "everything"])
async def test_what_he_has_and_what_there_is_not_is_not_asked_for(
    dashboard: Dashboard, browser: Browser, acme: Account, tim: User, group: str
) -> None:
    await browser.enter(tim)
    await browser.get("/account")
    await browser.post("/account/scopes", {"group": group})
    assert browser.page.status_code == 400
    with dashboard.control.connect() as tx:
        assert not teammates.requests_of(tx, acme.id)


async def test_an_owner_has_nothing_to_ask_for(browser: Browser, ann: User) -> None:
    await browser.enter(ann)
    await browser.get("/account")
    assert "/account/scopes" not in browser.text
    await browser.post("/account/scopes", {"group": "Alerts"})
    assert browser.page.status_code == 400

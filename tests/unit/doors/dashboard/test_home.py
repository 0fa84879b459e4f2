from __future__ import annotations

from sekisho.accounts import Account
from sekisho.users import Role, User
from tests.fakes.control import a_key, a_subuser
from tests.fakes.dashboard import Browser, Dashboard


async def test_the_first_page_says_what_is_to_be_done(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    await browser.enter(ann)
    assert browser.page.status_code == 200
    assert browser.heading() == "acme"
    assert browser.text.count("to do</span>") == 4
    with dashboard.control.begin() as tx:
        a_key(tx, acme)
    dashboard.a_person(acme, "bob@example.com", role=Role.ADMIN)
    await browser.get("/")
    assert browser.text.count("to do</span>") == 2


async def test_what_others_have_is_no_step_of_ones_own(dashboard: Dashboard, browser: Browser, acme: Account) -> None:
    with dashboard.control.begin() as tx:
        shop = a_subuser(tx, acme)
        a_key(tx, acme)
    await browser.enter(dashboard.a_person(shop, "sam"))
    assert browser.heading() == "shop"
    assert browser.text.count("to do</span>") == 4

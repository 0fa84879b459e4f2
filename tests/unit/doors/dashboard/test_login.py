from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from sekisho import accounts, ipaccess
from sekisho.accounts import Account
from sekisho.sessions.model import ABSOLUTE_MS, HALF_MS, IDLE_MS
from sekisho.sessions.tables import session
from sekisho.users import User
from tests.fakes.control import BY, a_subuser, audited
from tests.fakes.dashboard import CLIENT, PASSWORD, Browser, Dashboard


async def type_in(browser: Browser, name: str, password: str = PASSWORD, following: str = "/") -> int:
    await browser.get("/login")
    answer = await browser.post("/login", {"name": name, "password": password, "next": following}, follow=False)
    browser.page = answer
    return answer.status_code


@pytest.mark.parametrize("name", ["ann@example.com", "ANN@example.com"])
async def test_a_password_alone_leads_to_the_second_factor_and_nowhere_else(
    browser: Browser, ann: User, name: str
) -> None:
    assert ann.username == "ann@example.com"
    assert await type_in(browser, name, following="/sessions") == 303
    assert browser.page.headers["location"] == "/login/second?next=%2Fsessions"
    answer = await browser.client.get("/sessions")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login/second")


async def test_without_a_second_factor_there_is_enrolling_and_nothing_else(
    dashboard: Dashboard, browser: Browser, acme: Account
) -> None:
    dashboard.a_person(acme, totp=False)
    assert await type_in(browser, "ann@example.com") == 303
    assert browser.page.headers["location"] == "/enrol"
    answer = await browser.client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/enrol")


async def test_a_wrong_password_and_a_name_that_nobody_has_get_one_answer(
    dashboard: Dashboard, browser: Browser, ann: User
) -> None:
    await browser.get("/login")
    texts = set()
    for name in (ann.username, "eve@example.com"):
        answer = await browser.post("/login", {"name": name, "password": "wrong wrong wrong"}, follow=False)
        assert answer.status_code == 422
        assert "do not belong together" in answer.text
        assert "wrong wrong" not in answer.text
        texts.add(answer.text.replace(name, "NAME"))
    assert len(texts) == 1
    assert [(tenant, user) for _, tenant, user in dashboard.failed] == [(ann.tenant_id, ann.id), (None, None)]


async def test_guessing_ends_soon(browser: Browser, ann: User) -> None:
    await browser.get("/login")
    for _ in range(10):
        answer = await browser.post("/login", {"name": ann.username, "password": "guess"}, follow=False)
        assert answer.status_code == 422
    answer = await browser.post("/login", {"name": ann.username, "password": PASSWORD}, follow=False)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "set-cookie" not in answer.headers


async def test_somebody_of_an_account_that_is_off_does_not_come_in(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    with dashboard.control.begin() as tx:
        accounts.disable(tx, acme, by=BY)
    assert await type_in(browser, ann.username) == 403
    assert "switched off" in browser.text


async def test_nor_from_an_address_that_is_not_on_the_list(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    with dashboard.control.begin() as tx:
        ipaccess.add(tx, acme.id, ["203.0.113.0/24"], caller=None, confirmed=True, by=BY)
    assert await type_in(browser, ann.username) == 403
    assert "IP address is not on the list" in browser.text
    with dashboard.control.connect() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(session)).scalar() == 0


async def test_switching_website_access_off_ends_the_log_ins_of_a_subuser_s_people(
    dashboard: Dashboard, browser: Browser, acme: Account
) -> None:
    with dashboard.control.begin() as tx:
        shop = a_subuser(tx, acme)
    sam = dashboard.a_person(shop, "sam")
    await browser.enter(sam)
    assert browser.heading() == "shop"
    with dashboard.control.begin() as tx:
        accounts.switch_website(tx, shop, disabled=True, by=BY)
    await browser.get("/")
    assert browser.path == "/login"
    assert await type_in(browser, "sam") == 403


@pytest.mark.parametrize("parent", [True, False])
async def test_disabling_ends_log_ins_at_the_next_request(
    dashboard: Dashboard, browser: Browser, acme: Account, parent: bool
) -> None:
    with dashboard.control.begin() as tx:
        shop = a_subuser(tx, acme)
    await browser.enter(dashboard.a_person(shop, "sam"))
    with dashboard.control.begin() as tx:
        accounts.disable(tx, acme if parent else shop, by=BY)
    await browser.get("/")
    assert browser.path == "/login"


async def test_a_list_of_addresses_binds_log_ins_that_are_there(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    await browser.enter(ann)
    with dashboard.control.begin() as tx:
        ipaccess.add(tx, acme.id, ["203.0.113.0/24"], caller=None, confirmed=True, by=BY)
    answer = await browser.client.get("/sessions")
    assert answer.status_code == 403
    assert "IP address is not on the list" in answer.text
    assert dashboard.attempts[-1][2] is False
    away = await browser.client.post("/sessions/others/end", data={"csrf": browser.csrf})
    assert away.status_code == 403


@pytest.mark.parametrize("passed_ms", [IDLE_MS, ABSOLUTE_MS])
async def test_a_log_in_is_over_after_a_while(
    dashboard: Dashboard, browser: Browser, ann: User, passed_ms: int
) -> None:
    await browser.enter(ann)
    dashboard.clock.go(passed_ms / 1000)
    await browser.get("/sessions?page=2")
    assert browser.path == "/login?next=%2Fsessions%3Fpage%3D2"
    assert browser.hidden("next") == "/sessions?page=2"


async def test_use_keeps_it_for_its_twelve_hours(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await browser.enter(ann)
    for _ in range(23):
        dashboard.clock.go(IDLE_MS / 2000)
        await browser.get("/")
        assert browser.path == "/"
    dashboard.clock.go(IDLE_MS / 2000)
    await browser.get("/")
    assert browser.path == "/login"


async def test_half_a_log_in_is_over_sooner(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await type_in(browser, ann.username)
    dashboard.clock.go(HALF_MS / 1000)
    await browser.get("/")
    assert browser.path == "/login"


async def test_logging_out_ends_it_at_the_server_too(browser: Browser, ann: User, dashboard: Dashboard) -> None:
    await browser.enter(ann)
    token = browser.client.cookies["__Host-sekisho"]
    await browser.post("/logout")
    assert browser.path == "/login"
    assert "logged out" in browser.text
    assert "__Host-sekisho" not in browser.client.cookies
    browser.give(token)
    await browser.get("/")
    assert browser.path == "/login"
    assert ("session.end", "") in audited(dashboard.control)


async def test_another_log_in_in_the_same_browser_ends_the_one_before(
    browser: Browser, ann: User, another_browser: Callable[[], Browser]
) -> None:
    await browser.enter(ann)
    token = browser.client.cookies["__Host-sekisho"]
    await browser.post("/login", {"name": ann.username, "password": PASSWORD}, follow=False)
    other = another_browser()
    other.give(token)
    await other.get("/")
    assert other.path == "/login"


async def test_who_is_logged_in_needs_no_log_in(browser: Browser, ann: User) -> None:
    await browser.enter(ann)
    await browser.get("/login?next=/sessions")
    assert browser.path == "/sessions"
    await browser.get("/login?next=//evil.example")
    assert browser.path == "/"


async def test_each_request_of_a_person_is_noted(dashboard: Dashboard, browser: Browser, ann: User) -> None:
    await browser.enter(ann)
    assert [(number, str(address), allowed) for number, address, allowed in dashboard.attempts] == [
        (ann.tenant_id, CLIENT, True)
    ]

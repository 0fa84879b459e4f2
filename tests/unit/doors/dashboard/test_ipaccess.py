from __future__ import annotations

from collections.abc import Callable

import pytest

from sekisho import ipaccess
from sekisho.accounts import Account
from sekisho.ipaccess.actions import TRIAL_MS
from sekisho.ipaccess.tables import access_activity
from sekisho.users import Role, User
from tests.fakes.control import BY, NOW_MS, a_subuser, audited
from tests.fakes.dashboard import CLIENT, Browser, Dashboard
from tests.unit.doors.dashboard.hostile import HOSTILE, is_harmless, shows

LOCKED_OUT = "This list would lock you out"
ELSEWHERE = "203.0.113.5"


def networks(dashboard: Dashboard, owner: Account) -> list[str]:
    with dashboard.control.connect() as tx:
        return [str(rule.network) for rule in ipaccess.rules_of(tx, owner.id)]


def listing(dashboard: Dashboard, owner: Account, *entries: str) -> list[int]:
    with dashboard.control.begin() as tx:
        found = ipaccess.add(tx, owner.id, entries, caller=None, confirmed=True, by=BY)
        assert isinstance(found, tuple)
        return [rule.id for rule in found]


async def test_addresses_are_added_and_taken_off(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    await browser.enter(ann)
    await browser.get("/ip-access")
    assert "every address is let in" in browser.text
    assert CLIENT in browser.text
    await browser.post("/ip-access/add", {"entries": f"{CLIENT}\n198.51.100.*, 2001:db8::/32"})
    assert networks(dashboard, acme) == [f"{CLIENT}/32", "198.51.100.0/24", "2001:db8::/32"]
    assert "The list lets this address in." in browser.text
    with dashboard.control.connect() as tx:
        ids = [rule.id for rule in ipaccess.rules_of(tx, acme.id)]
    await browser.post("/ip-access/remove", {"rule": [str(ids[1]), str(ids[2])]})
    assert networks(dashboard, acme) == [f"{CLIENT}/32"]
    await browser.post("/ip-access/remove", {"rule": str(ids[0])})
    assert networks(dashboard, acme) == []


async def test_who_would_lock_himself_out_is_asked_first(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    await browser.enter(ann)
    await browser.get("/ip-access")
    await browser.post("/ip-access/add", {"entries": ELSEWHERE})
    assert browser.page.status_code == 422
    assert LOCKED_OUT in browser.text
    assert networks(dashboard, acme) == []
    await browser.post("/ip-access/add", {"entries": browser.hidden("entries"), "with_mine": "1"})
    assert networks(dashboard, acme) == [f"{ELSEWHERE}/32", f"{CLIENT}/32"]
    with dashboard.control.connect() as tx:
        mine = next(rule for rule in ipaccess.rules_of(tx, acme.id) if CLIENT in str(rule.network))
    await browser.post("/ip-access/remove", {"rule": str(mine.id)})
    assert browser.page.status_code == 422
    assert LOCKED_OUT in browser.text
    assert browser.hidden("rule") == str(mine.id)
    assert len(networks(dashboard, acme)) == 2


async def test_a_list_on_trial_locks_out_and_is_confirmed_from_an_address_on_it(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    await browser.enter(ann)
    await browser.get("/ip-access")
    await browser.post("/ip-access/add", {"entries": ELSEWHERE})
    await browser.post("/ip-access/trial", {"entries": browser.hidden("entries")})
    assert browser.heading() == "The list is on trial"
    assert networks(dashboard, acme) == [f"{ELSEWHERE}/32"]
    assert (await browser.get("/ip-access")).status_code == 403
    other = Browser(dashboard, address=ELSEWHERE)
    await other.enter(ann)
    dashboard.clock.go(90)
    await other.get("/ip-access")
    assert "within 9 minutes" in other.text
    await other.post("/ip-access/confirm")
    assert "The list is confirmed, and stays." in other.text
    with dashboard.control.begin() as tx:
        assert ipaccess.roll_back_due(tx, NOW_MS + 10 * TRIAL_MS) == 0
    await other.post("/ip-access/confirm")
    assert "There is no change to confirm" in other.text


async def test_a_trial_that_nobody_confirms_is_over_by_itself_or_undone(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    (mine,) = listing(dashboard, acme, CLIENT)
    await browser.enter(ann)
    await browser.get("/ip-access")
    await browser.post("/ip-access/trial", {"entries": ELSEWHERE, "rule": str(mine)})
    assert networks(dashboard, acme) == [f"{ELSEWHERE}/32"]
    other = Browser(dashboard, address=ELSEWHERE)
    await other.enter(ann)
    await other.get("/ip-access")
    await other.post("/ip-access/undo")
    assert other.page.status_code == 403
    assert networks(dashboard, acme) == [f"{CLIENT}/32"]
    assert ("access.roll_back", str(acme.id)) in audited(dashboard.control)
    await browser.get("/ip-access")
    assert browser.page.status_code == 200
    await browser.post("/ip-access/trial", {"entries": ELSEWHERE, "rule": str(mine)})
    with dashboard.control.begin() as tx:
        assert ipaccess.roll_back_due(tx, NOW_MS + TRIAL_MS) == 1
    assert (await browser.get("/ip-access")).status_code == 200


@pytest.mark.parametrize("entry", ["nowhere", "0.0.0.0/0", "", *HOSTILE])
async def test_what_is_no_address_is_shown_again_harmlessly(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, entry: str
) -> None:
    await browser.enter(ann)
    await browser.get("/ip-access")
    await browser.post("/ip-access/add", {"entries": entry})
    assert browser.page.status_code == 422
    assert 'id="entries-error"' in browser.text
    assert is_harmless(browser.text, entry)
    assert networks(dashboard, acme) == []


@pytest.mark.parametrize("rule", ["", "x", "-1", "99999999999"])
async def test_what_no_page_sent_removes_nothing(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, rule: str
) -> None:
    listing(dashboard, acme, CLIENT)
    await browser.enter(ann)
    await browser.post("/ip-access/remove", {"rule": rule})
    assert browser.page.status_code == 400
    await browser.get("/ip-access")
    await browser.post("/ip-access/remove", {})
    assert "Tick what is to be taken off" in browser.text
    await browser.post("/ip-access/remove", {"rule": "7"})
    assert "not on the list any more" in browser.text
    assert networks(dashboard, acme) == [f"{CLIENT}/32"]


async def test_who_acts_for_a_subuser_is_not_judged_by_its_list(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    with dashboard.control.begin() as tx:
        shop = a_subuser(tx, acme)
    await browser.enter(ann)
    await browser.post("/act-for", {"subuser": "shop"})
    await browser.post("/ip-access/add", {"entries": ELSEWHERE})
    assert (networks(dashboard, shop), networks(dashboard, acme)) == ([f"{ELSEWHERE}/32"], [])
    assert "judged by your own account" in browser.text


@pytest.mark.parametrize("act", ["add", "remove", "trial", "undo"])
async def test_changes_want_the_second_factor(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, act: str
) -> None:
    (mine,) = listing(dashboard, acme, CLIENT)
    await browser.enter(ann)
    await browser.get("/ip-access")
    dashboard.clock.go(11 * 60)
    await browser.post(f"/ip-access/{act}", {"entries": "198.51.100.1", "rule": str(mine)})
    assert browser.page.status_code == 403
    assert browser.heading() == "Show your second factor again"
    assert networks(dashboard, acme) == [f"{CLIENT}/32"]


@pytest.mark.parametrize("act", ["add", "remove", "trial", "undo", "confirm"])
async def test_who_may_only_read_changes_nothing(
    dashboard: Dashboard, acme: Account, another_browser: Callable[[], Browser], act: str
) -> None:
    (mine,) = listing(dashboard, acme, CLIENT)
    held = frozenset({"access_settings.whitelist.read"})
    bob = dashboard.a_person(acme, "bob@example.com", role=Role.TEAMMATE, scopes=held)
    browser = another_browser()
    await browser.enter(bob)
    await browser.get("/ip-access")
    assert "Add to the list" not in browser.text
    assert "Who came" not in browser.text
    await browser.post(f"/ip-access/{act}", {"entries": "198.51.100.1", "rule": str(mine)})
    assert browser.page.status_code == 403
    assert networks(dashboard, acme) == [f"{CLIENT}/32"]


async def test_who_may_only_add_tries_out_no_removal(dashboard: Dashboard, browser: Browser, acme: Account) -> None:
    (mine,) = listing(dashboard, acme, CLIENT)
    held = frozenset({"access_settings.whitelist.read", "access_settings.whitelist.create"})
    await browser.enter(dashboard.a_person(acme, "bob@example.com", role=Role.TEAMMATE, scopes=held))
    await browser.post("/ip-access/trial", {"entries": ELSEWHERE, "rule": str(mine)})
    assert browser.page.status_code == 403
    assert networks(dashboard, acme) == [f"{CLIENT}/32"]


@pytest.mark.parametrize("text", HOSTILE)
async def test_who_came_is_shown_harmlessly(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, text: str
) -> None:
    with dashboard.control.begin() as tx:
        row = {"owner_id": acme.id, "method": "SMTP", "allowed": False, "first_ms": NOW_MS, "last_ms": NOW_MS}
        tx.execute(access_activity.insert().values(address=text, **row))
    await browser.enter(ann)
    await browser.get("/ip-access")
    assert shows(browser.text, text)
    assert '<span class="bad">no</span>' in browser.text

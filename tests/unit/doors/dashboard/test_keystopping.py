from __future__ import annotations

import html

import pytest

from sekisho.accounts import Account
from sekisho.apikeys.actions import hold, revoke
from sekisho.apikeys.model import ApiKey, HoldReason
from sekisho.apikeys.tables import find_key
from sekisho.apikeys.used import key_address, key_use
from sekisho.doors.dashboard import keystopping
from sekisho.doors.http.radius import Radius
from sekisho.queue.bykey import Queued
from sekisho.users import Role, User
from tests.fakes.control import BY, NOW_MS, a_key, a_subuser, audited
from tests.fakes.dashboard import Browser, Dashboard
from tests.fakes.databases import out_of_reach
from tests.unit.doors.dashboard.hostile import HOSTILE, shows

DELETES = frozenset({"api_keys.read", "api_keys.delete"})


@pytest.fixture
def key(dashboard: Dashboard, acme: Account) -> ApiKey:
    with dashboard.control.begin() as tx:
        return a_key(tx, acme).key


def now(dashboard: Dashboard, key: ApiKey) -> ApiKey:
    with dashboard.control.connect() as tx:
        found = find_key(tx, key.id)
    assert found is not None
    return found


async def test_a_revoked_key_is_gone_from_the_list(
    dashboard: Dashboard, browser: Browser, ann: User, key: ApiKey
) -> None:
    await browser.enter(ann)
    await browser.get(f"/keys/{key.id}/stop")
    await browser.post(f"/keys/{key.id}/revoke")
    assert (browser.path, "The key was revoked." in browser.text) == ("/keys", True)
    assert key.id not in browser.text
    assert now(dashboard, key).state(NOW_MS) == "revoked"


async def test_a_compromised_key_shows_what_it_can_have_done_and_its_mail_is_let_go(
    dashboard: Dashboard, browser: Browser, ann: User, key: ApiKey
) -> None:
    with dashboard.control.begin() as tx:
        use = {"key_id": key.id, "first_ms": NOW_MS, "last_ms": NOW_MS, "last_address": "198.51.100.9"}
        tx.execute(key_use.insert().values(use))
        place = {"address": "198.51.100.9", "network": "198.51.100.0/24", "recipients": 12}
        tx.execute(key_address.insert().values(key_id=key.id, first_ms=NOW_MS, last_ms=NOW_MS, **place))
    await browser.enter(ann)
    await browser.get(f"/keys/{key.id}/stop")
    await browser.post(f"/keys/{key.id}/compromise")
    assert browser.path == f"/keys/{key.id}/radius"
    for shown in ("198.51.100.9", "<td>12</td>", "0 messages, 0 recipients", ">compromised<", "Let its mail go"):
        assert shown in browser.text
    assert now(dashboard, key).state(NOW_MS) == "compromised"
    await browser.get("/keys")
    assert f'<a href="/keys/{key.id}/radius">' in browser.text
    await browser.post(f"/keys/{key.id}/release")
    assert "Its mail may go out again." in browser.text
    assert "Let its mail go" not in browser.text
    assert (now(dashboard, key).state(NOW_MS), now(dashboard, key).let_go_ms) == ("compromised", NOW_MS)


async def test_mail_of_a_stopped_key_alone_is_dropped(
    dashboard: Dashboard, browser: Browser, ann: User, key: ApiKey
) -> None:
    await browser.enter(ann)
    await browser.post(f"/keys/{key.id}/purge")
    assert browser.page.status_code == 409
    assert "Only the mail of a compromised or held key can be dropped." in browser.text
    assert dashboard.purged == []
    await browser.get("/keys")
    await browser.post(f"/keys/{key.id}/hold")
    await browser.post(f"/keys/{key.id}/purge")
    assert "7 recipients were dropped." in browser.text
    assert [purged for purged, _ in dashboard.purged] == [key.id]
    assert ("key.purge", key.id) in audited(dashboard.control)


async def test_a_held_key_says_why_and_is_released_after_a_second_factor(
    dashboard: Dashboard, browser: Browser, ann: User, key: ApiKey
) -> None:
    await browser.enter(ann)
    await browser.post(f"/keys/{key.id}/hold")
    assert browser.path == f"/keys/{key.id}"
    assert "This key is held" in browser.text
    assert now(dashboard, key).hold is not None
    await browser.get(f"/keys/{key.id}/radius")
    dashboard.clock.go(11 * 60)
    await browser.post(f"/keys/{key.id}/release")
    assert browser.page.status_code == 403
    assert now(dashboard, key).hold is not None
    await browser.step_up(ann)
    assert "The key works again" in browser.text
    assert now(dashboard, key).hold is None


async def test_an_account_stops_a_key_of_its_subuser(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    with dashboard.control.begin() as tx:
        theirs = a_key(tx, a_subuser(tx, acme)).key
    await browser.enter(ann)
    await browser.post(f"/keys/{theirs.id}/compromise")
    assert browser.path == f"/keys/{theirs.id}/radius"
    assert now(dashboard, theirs).compromised


async def test_who_may_do_less_than_a_key_only_ends_it(
    dashboard: Dashboard, browser: Browser, acme: Account, key: ApiKey
) -> None:
    bob = dashboard.a_person(acme, "bob@example.com", role=Role.TEAMMATE, scopes=DELETES)
    with dashboard.control.begin() as tx:
        hold(tx, key, HoldReason.ANOMALY, "it was used as never before", by=BY)
    await browser.enter(bob)
    await browser.get(f"/keys/{key.id}/radius")
    assert "ask an owner or admin" in browser.text
    for act in ("release", "purge"):
        await browser.post(f"/keys/{key.id}/{act}")
        assert browser.page.status_code == 409
        assert "This key may do more than you" in browser.text
        await browser.get("/keys")
    assert now(dashboard, key).hold is not None
    assert dashboard.purged == []
    await browser.post(f"/keys/{key.id}/revoke")
    assert now(dashboard, key).state(NOW_MS) == "revoked"


async def test_what_cannot_be_counted_hides_nothing(
    dashboard: Dashboard, browser: Browser, ann: User, key: ApiKey
) -> None:
    await browser.enter(ann)
    with out_of_reach(dashboard.events):
        await browser.post(f"/keys/{key.id}/compromise")
    assert browser.page.status_code == 200
    assert "cannot be counted now" in browser.text
    assert ">compromised<" in browser.text


@pytest.mark.parametrize("text", HOSTILE)
async def test_what_others_wrote_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, browser: Browser, ann: User, key: ApiKey, text: str
) -> None:
    async def odd(*_given: object, **_more: object) -> Radius:
        return Radius(None, (Queued(text, 2, 3),), None)

    monkeypatch.setattr(keystopping, "radius_of", odd)
    await browser.enter(ann)
    await browser.get(f"/keys/{key.id}/radius")
    assert shows(browser.text, text)
    assert "2 messages, 3 recipients" in html.unescape(browser.text)


async def test_a_page_of_a_stopped_key_of_a_stranger_is_none(
    dashboard: Dashboard, browser: Browser, acme: Account, key: ApiKey
) -> None:
    with dashboard.control.begin() as tx:
        shop = a_subuser(tx, acme)
        revoke(tx, key.id, compromised=True, by=BY)
    await browser.enter(dashboard.a_person(shop, "sam"))
    assert (await browser.get(f"/keys/{key.id}/radius")).status_code == 404

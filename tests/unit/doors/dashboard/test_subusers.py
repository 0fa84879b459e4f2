from __future__ import annotations

import pytest

from sekisho.accounts import Account, find_subuser, list_subusers
from sekisho.credits import Credits, Reset
from sekisho.queue import credits as queued_credits
from sekisho.users import Role, User, users_of
from tests.fakes.control import NOW_MS, a_key, a_subuser, an_account, audited
from tests.fakes.dashboard import PASSWORD, Browser, Dashboard
from tests.unit.doors.dashboard.hostile import HOSTILE, is_harmless

NEW = {"username": "shop", "email": "shop@example.com", "password": PASSWORD}


@pytest.fixture
def shop(dashboard: Dashboard, acme: Account) -> Account:
    with dashboard.control.begin() as tx:
        return a_subuser(tx, acme)


def now(dashboard: Dashboard, name: str = "shop") -> Account | None:
    with dashboard.control.connect() as tx:
        return find_subuser(tx, name)


async def test_a_subuser_is_made_with_somebody_who_logs_in(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    await browser.enter(ann)
    await browser.get("/subusers/new")
    await browser.post("/subusers", NEW)
    assert (browser.path, browser.heading()) == ("/subusers/shop", "Subuser shop")
    made = now(dashboard)
    assert made is not None
    assert made.parent_id == acme.id
    with dashboard.control.connect() as tx:
        (person,) = users_of(tx, made.id)
    assert (person.username, person.email, person.has_password) == ("shop", "shop@example.com", True)
    other = Browser(dashboard)
    await other.get("/login")
    await other.post("/login", {"name": "shop", "password": PASSWORD})
    assert other.path != "/login"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"username": "-x"}, "username"),
        ({"username": "ACME"}, "username"),
        ({"email": "nowhere"}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "shop@example.com"}, "password"),
        *(({"username": text, "email": text}, "username") for text in HOSTILE),
    ],
)
async def test_what_is_wrong_with_a_new_one_stands_beside_its_field(
    dashboard: Dashboard, browser: Browser, ann: User, wrong: dict[str, str], field: str
) -> None:
    await browser.enter(ann)
    await browser.post("/subusers", {**NEW, **wrong})
    assert browser.page.status_code == 422
    assert f'id="{field}-error"' in browser.text or 'id="email-error"' in browser.text
    assert PASSWORD not in browser.text
    assert all(is_harmless(browser.text, text) for text in wrong.values() if text in HOSTILE)
    with dashboard.control.connect() as tx:
        assert list_subusers(tx) == ()


async def test_they_are_listed_in_pages_and_found_by_name(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    with dashboard.control.begin() as tx:
        for number in range(101):
            a_subuser(tx, acme, f"sub-{number:03}")
        a_subuser(tx, an_account(tx, "other"), "sub-of-others")
    await browser.enter(ann)
    await browser.get("/subusers")
    assert "sub-099<" in browser.text
    assert "sub-100<" not in browser.text
    await browser.get("/subusers?page=2")
    assert "sub-100<" in browser.text
    await browser.get("/subusers?name=SUB-05")
    assert browser.text.count('<a href="/subusers/sub-05') == 10
    await browser.get("/subusers?name=others&page=x")
    assert "sub-of-others" not in browser.text


async def test_a_subuser_is_disabled_and_enabled_and_kept_from_logging_in(
    dashboard: Dashboard, browser: Browser, ann: User, shop: Account
) -> None:
    await browser.enter(ann)
    await browser.get("/subusers/shop")
    for act, fields, flags in (
        ("disable", {}, (True, False)),
        ("enable", {}, (False, False)),
        ("website-access", {}, (False, True)),
        ("website-access", {"access": "yes"}, (False, False)),
    ):
        await browser.post(f"/subusers/shop/{act}", fields)
        after = now(dashboard)
        assert after is not None
        assert (after.disabled_ms is not None, after.website_disabled_ms is not None) == flags, act
    assert ("subuser.website_access", shop.name) in audited(dashboard.control)


async def test_credits_are_granted_and_added_to(
    dashboard: Dashboard, browser: Browser, ann: User, shop: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queued_credits, "used_of", lambda *_: 30)
    await browser.enter(ann)
    await browser.get("/subusers/shop")
    assert "unlimited" in browser.text
    await browser.post("/subusers/shop/credits/add", {"difference": "5"})
    assert "nothing to add to" in browser.text
    await browser.post("/subusers/shop/credits", {"kind": "daily", "total": "100"})
    after = now(dashboard)
    assert after is not None
    assert after.credits == Credits(shop.id, 100, Reset.DAILY, NOW_MS)
    assert "70 left of 100, 30 used" in browser.text
    await browser.post("/subusers/shop/credits/add", {"difference": "-20"})
    assert "50 left of 80, 30 used" in browser.text
    await browser.post("/subusers/shop/credits", {"kind": "unlimited", "total": ""})
    after = now(dashboard)
    assert after is not None
    assert after.credits is None


@pytest.mark.parametrize(
    ("act", "fields", "status"),
    [
        ("credits", {"kind": "once", "total": "0"}, 422),
        ("credits", {"kind": "daily", "total": ""}, 422),
        ("credits", {"kind": "once", "total": "1" * 15}, 422),
        ("credits", {"kind": "hourly", "total": "5"}, 400),
        ("credits/add", {"difference": "many"}, 422),
        ("credits/add", {"difference": "9" * 13}, 422),
        ("delete", {"typed": "shop2"}, 422),
        ("delete", {"typed": ""}, 422),
        *(("delete", {"typed": text}, 422) for text in HOSTILE),
    ],
)
async def test_what_is_not_understood_changes_nothing(  # noqa: PLR0917
    dashboard: Dashboard,
    browser: Browser,
    ann: User,
    shop: Account,
    act: str,
    fields: dict[str, str],
    status: int,
) -> None:
    await browser.enter(ann)
    await browser.get("/subusers/shop")
    await browser.post(f"/subusers/shop/{act}", fields)
    assert browser.page.status_code == status
    assert all(is_harmless(browser.text, text) for text in fields.values() if text in HOSTILE)
    assert now(dashboard) == shop


async def test_a_subuser_is_deleted_by_its_name_and_a_second_factor(
    dashboard: Dashboard, browser: Browser, ann: User, shop: Account
) -> None:
    await browser.enter(ann)
    await browser.get("/subusers/shop")
    dashboard.clock.go(11 * 60)
    await browser.post("/subusers/shop/delete", {"typed": "shop"})
    assert (browser.page.status_code, now(dashboard)) == (403, shop)
    await browser.step_up(ann)
    assert "The subuser was deleted." in browser.text
    assert now(dashboard) is None


async def test_one_acts_for_it_from_its_page(dashboard: Dashboard, browser: Browser, ann: User, shop: Account) -> None:
    with dashboard.control.begin() as tx:
        key = a_key(tx, shop).key
    await browser.enter(ann)
    await browser.get("/subusers/shop")
    await browser.post("/act-for", {"subuser": browser.hidden("subuser")})
    await browser.get("/keys")
    assert key.id in browser.text
    for path in ("/subusers", "/subusers/new", "/subusers/shop"):
        assert (await browser.get(path)).status_code == 403


ACTS = ("disable", "enable", "website-access", "credits", "credits/add", "delete")


@pytest.mark.parametrize("act", ACTS)
async def test_somebody_elses_subuser_is_as_unknown_as_none(
    dashboard: Dashboard, browser: Browser, ann: User, act: str
) -> None:
    with dashboard.control.begin() as tx:
        theirs = a_subuser(tx, an_account(tx, "other"), "theirs")
    await browser.enter(ann)
    for name in ("theirs", "nobody", "acme"):
        assert (await browser.get(f"/subusers/{name}")).status_code == 404
        await browser.get("/subusers")
        fields = {"kind": "once", "total": "5", "difference": "5", "typed": name}
        await browser.post(f"/subusers/{name}/{act}", fields)
        assert browser.page.status_code == 404
    assert now(dashboard, "theirs") == theirs


@pytest.mark.parametrize("act", ACTS)
async def test_who_may_only_read_changes_nothing(
    dashboard: Dashboard, browser: Browser, acme: Account, shop: Account, act: str
) -> None:
    held = frozenset({"subusers.read"})
    await browser.enter(dashboard.a_person(acme, "bob@example.com", role=Role.TEAMMATE, scopes=held))
    page = await browser.get("/subusers/shop")
    assert page.status_code == 200
    assert "/subusers/shop/" not in page.text
    assert "Credits" not in page.text
    await browser.post(f"/subusers/shop/{act}", {"kind": "once", "total": "5", "typed": "shop", "difference": "5"})
    assert browser.page.status_code == 403
    assert (await browser.get("/subusers/new")).status_code == 403
    assert now(dashboard) == shop

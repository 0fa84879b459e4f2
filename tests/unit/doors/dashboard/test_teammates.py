from __future__ import annotations

import pytest
import sqlalchemy as sa

from sekisho import teammates
from sekisho.accounts import Account
from sekisho.apikeys.actions import Wish, issue
from sekisho.apikeys.model import ApiKey
from sekisho.apikeys.scopes import effective
from sekisho.apikeys.tables import Owner, find_own_key
from sekisho.identity import KeyPolicy
from sekisho.refusal import Declined
from sekisho.teammates import Grant, Permission, Rights
from sekisho.users import Role, User, by_username
from tests.fakes.control import BY, a_subuser, an_account, audited
from tests.fakes.dashboard import Browser, Dashboard
from tests.fakes.people import a_restricted_teammate, a_teammate, an_admin, an_invitation
from tests.unit.doors.dashboard.hostile import HOSTILE, is_harmless

NEW = {"email": "new@example.org", "access": "chosen", "scope": ["mail.send", "stats.read"]}


@pytest.fixture
def tim(dashboard: Dashboard, acme: Account) -> User:
    with dashboard.control.begin() as tx:
        return a_teammate(tx, acme)


def now(dashboard: Dashboard, name: str = "tim") -> User | None:
    with dashboard.control.connect() as tx:
        return by_username(tx, name)


def rights_of(dashboard: Dashboard, name: str) -> Rights:
    with dashboard.control.connect() as tx:
        person = by_username(tx, name)
        assert person is not None
        return teammates.rights_of(tx, person)


def a_key_of(tx: sa.Connection, tenant: Account, maker: User, name: str) -> ApiKey:
    made = issue(tx, tenant, Wish(name, KeyPolicy(), frozenset({"mail.send"}), maker_id=maker.id), by=BY)
    assert not isinstance(made, Declined), made
    return made.key


def pending(dashboard: Dashboard, tenant: Account) -> list[tuple[str, Rights]]:
    with dashboard.control.connect() as tx:
        return [(one.email, one.rights) for one in teammates.pending_of(tx, tenant.id)]


# Inviting.


async def test_a_person_is_invited_with_chosen_scopes_after_a_second_factor(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    await browser.enter(ann)
    await browser.get("/invitations/new")
    dashboard.clock.go(11 * 60)
    await browser.post("/invitations", NEW)
    assert (browser.page.status_code, pending(dashboard, acme)) == (403, [])
    await browser.step_up(ann)
    assert (browser.path, "new@example.org" in browser.text) == ("/teammates", True)
    assert pending(dashboard, acme) == [("new@example.org", Rights(scopes=frozenset({"mail.send", "stats.read"})))]


async def test_an_administrator_and_somebody_for_subusers_are_invited(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    with dashboard.control.begin() as tx:
        shop, blog = a_subuser(tx, acme), a_subuser(tx, acme, "blog")
    await browser.enter(ann)
    await browser.post("/invitations", {"email": "a@example.org", "access": "admin"})
    fields = {"access": "subusers", "names": "shop\r\nblog"}
    await browser.post("/invitations", {"email": "b@example.org", **fields, "there": "admin"})
    await browser.post("/invitations", {"email": "c@example.org", **fields, "there": "chosen", "scope": "stats.read"})
    everything, reads = Grant(Permission.ADMIN), Grant(Permission.RESTRICTED, frozenset({"stats.read"}))
    assert pending(dashboard, acme) == [
        ("a@example.org", Rights(is_admin=True)),
        ("b@example.org", Rights(access={shop.id: everything, blog.id: everything})),
        ("c@example.org", Rights(access={shop.id: reads, blog.id: reads})),
    ]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"email": "nowhere"}, "email"),
        ({"email": "tim@example.org"}, "email"),
        ({"access": "everything"}, "access"),
        ({"access": "subusers", "names": ""}, "names"),
        ({"access": "subusers", "names": "shop theirs"}, "names"),
        *(({"email": text, "names": text}, "email") for text in HOSTILE),
    ],
)
@pytest.mark.usefixtures("tim")
async def test_what_is_wrong_with_an_invitation_stands_beside_its_field(  # noqa: PLR0917
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, wrong: dict[str, str], field: str
) -> None:
    with dashboard.control.begin() as tx:
        a_subuser(tx, acme)
        a_subuser(tx, an_account(tx, "other"), "theirs")
    await browser.enter(ann)
    await browser.post("/invitations", {**NEW, **wrong})
    assert browser.page.status_code == 422
    assert f'id="{field}-error"' in browser.text
    assert all(is_harmless(browser.text, text) for text in wrong.values() if text in HOSTILE)
    assert pending(dashboard, acme) == []


async def test_an_invitation_is_sent_again_and_withdrawn(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    with dashboard.control.begin() as tx:
        invited = an_invitation(tx, acme)
    await browser.enter(ann)
    await browser.get("/teammates")
    dashboard.clock.go(60)
    await browser.post(f"/invitations/{invited.token}/resend")
    with dashboard.control.connect() as tx:
        again = teammates.find_pending(tx, acme.id, invited.token)
    assert again is not None
    assert again.expires_ms > invited.expires_ms
    await browser.post(f"/invitations/{invited.token}/withdraw")
    assert pending(dashboard, acme) == []
    await browser.post(f"/invitations/{invited.token}/resend")
    assert browser.page.status_code == 404


# Changing.


async def test_rights_are_changed_and_changed_back(
    dashboard: Dashboard, browser: Browser, ann: User, tim: User
) -> None:
    await browser.enter(ann)
    await browser.get("/teammates/tim/edit")
    assert 'id="scope-mail.send" name="scope" value="mail.send" checked' in browser.text
    await browser.post("/teammates/tim", {"access": "admin"})
    assert (browser.path, rights_of(dashboard, "tim")) == ("/teammates/tim", Rights(is_admin=True))
    await browser.post("/teammates/tim", {"access": "chosen", "scope": "stats.read"})
    after = rights_of(dashboard, "tim").scopes
    assert ("stats.read" in after, "mail.send" in after) == (True, False)
    assert ("teammate.change", tim.username) in audited(dashboard.control)


async def test_access_to_subusers_is_given_one_by_one(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    reads = Grant(Permission.RESTRICTED, frozenset({"stats.read"}))
    with dashboard.control.begin() as tx:
        shop, blog = a_subuser(tx, acme), a_subuser(tx, acme, "blog")
        a_restricted_teammate(tx, acme, {shop: reads})
    await browser.enter(ann)
    await browser.get("/teammates/rita")
    assert "stats.read" in browser.text
    await browser.get("/teammates/rita/subuser?subuser=blog")
    await browser.post("/teammates/rita/subuser", {"subuser": "blog", "access": "admin"})
    assert rights_of(dashboard, "rita").access == {shop.id: reads, blog.id: Grant(Permission.ADMIN)}
    await browser.post("/teammates/rita", {"access": "subusers"})
    assert rights_of(dashboard, "rita").access == {shop.id: reads, blog.id: Grant(Permission.ADMIN)}
    await browser.post("/teammates/rita/subuser", {"subuser": "shop", "access": "none"})
    assert rights_of(dashboard, "rita").access == {blog.id: Grant(Permission.ADMIN)}
    await browser.post("/teammates/rita/subuser", {"subuser": "blog", "access": "chosen", "scope": "subusers.read"})
    assert browser.page.status_code == 422
    assert rights_of(dashboard, "rita").access == {blog.id: Grant(Permission.ADMIN)}
    for name in ("nobody", "acme"):
        await browser.get("/teammates/rita")
        await browser.post("/teammates/rita/subuser", {"subuser": name, "access": "admin"})
        assert browser.page.status_code == 404


async def test_the_owner_and_oneself_are_out_of_reach(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    ada = dashboard.a_person(acme, "ada@example.com", role=Role.ADMIN)
    await browser.enter(ada)
    for name in (ann.username, ada.username):
        await browser.get(f"/teammates/{name}")
        assert "/edit" not in browser.text
        await browser.post(f"/teammates/{name}", {"access": "chosen"})
        assert browser.page.status_code == 409
        await browser.get("/teammates")
        await browser.post(f"/teammates/{name}/remove")
        assert browser.page.status_code == 409
        await browser.get("/teammates")
    assert now(dashboard, ann.username) == ann
    assert now(dashboard, ada.username) == ada


@pytest.mark.parametrize(("verdict", "given"), [("approve", True), ("deny", False)])
async def test_what_a_teammate_asks_for_is_given_or_denied(  # noqa: PLR0917
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, tim: User, verdict: str, given: bool
) -> None:
    with dashboard.control.begin() as tx:
        asked = teammates.ask(tx, acme, tim, "API Keys", by=BY)
    assert not isinstance(asked, Declined)
    await browser.enter(ann)
    await browser.get("/teammates")
    await browser.post(f"/scope-requests/{asked.id}/{verdict}")
    assert browser.path == "/teammates"
    assert (rights_of(dashboard, "tim").scopes >= asked.scopes) is given
    await browser.post(f"/scope-requests/{asked.id}/{verdict}")
    assert browser.page.status_code == 404


# Removing.


async def test_a_teammate_is_removed_and_each_key_he_made_is_decided_on(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, tim: User
) -> None:
    with dashboard.control.begin() as tx:
        old, kept = (a_key_of(tx, acme, tim, name) for name in ("old", "kept"))
    await browser.enter(ann)
    await browser.get("/teammates/tim/remove")
    assert old.id in browser.text
    assert kept.id in browser.text
    await browser.post("/teammates/tim/remove", {f"key-{old.id}": "revoke"})
    assert browser.page.status_code == 422
    assert now(dashboard) == tim
    await browser.post("/teammates/tim/remove", {f"key-{old.id}": "revoke", f"key-{kept.id}": "keep"})
    assert (browser.path, now(dashboard)) == ("/teammates", None)
    with dashboard.control.connect() as tx:
        found = [find_own_key(tx, Owner(acme.id, None), key.id) for key in (old, kept)]
    assert [key is not None and key.revoked_ms is None for key in found] == [False, True]


# Who may.

ACTS = ("", "/remove", "/subuser")


@pytest.mark.parametrize("act", ACTS)
async def test_somebody_elses_teammate_is_as_unknown_as_none(
    dashboard: Dashboard, browser: Browser, ann: User, act: str
) -> None:
    with dashboard.control.begin() as tx:
        other = an_account(tx, "other")
        theirs = an_admin(tx, other, "theirs")
        invited = an_invitation(tx, other)
    await browser.enter(ann)
    for name in ("theirs", "nobody"):
        assert (await browser.get(f"/teammates/{name}")).status_code == 404
        await browser.get("/teammates")
        await browser.post(f"/teammates/{name}{act}", {"access": "admin", "subuser": "shop"})
        assert browser.page.status_code == 404
    for what in ("resend", "withdraw"):
        await browser.get("/teammates")
        assert "new@example.org" not in browser.text
        await browser.post(f"/invitations/{invited.token}/{what}")
        assert browser.page.status_code == 404
    assert now(dashboard, "theirs") == theirs
    assert len(pending(dashboard, other)) == 1


@pytest.mark.parametrize("act", ["/invitations", "/teammates/tim", "/teammates/tim/remove", "/teammates/tim/subuser"])
async def test_a_teammate_changes_nobody_whatever_his_scopes(
    dashboard: Dashboard, browser: Browser, acme: Account, tim: User, act: str
) -> None:
    scopes = effective(None, of_subuser=False)
    with dashboard.control.begin() as tx:
        invited = an_invitation(tx, acme)
    bob = dashboard.a_person(acme, "bob@example.com", role=Role.TEAMMATE, scopes=scopes)
    await browser.enter(bob)
    for page in ("/teammates", "/teammates/tim"):
        assert (await browser.get(page)).status_code == 200
        assert '<form method="post" action="/teammates' not in browser.text
        assert "/invitations" not in browser.text
    for path in (act, f"/invitations/{invited.token}/withdraw"):
        await browser.get("/teammates")
        await browser.post(path, {**NEW, "access": "admin"})
        assert browser.page.status_code == 403
    assert now(dashboard) == tim
    assert len(pending(dashboard, acme)) == 1

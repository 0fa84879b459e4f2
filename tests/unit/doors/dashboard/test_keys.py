from __future__ import annotations

import html
import re

import pytest

from sekisho.accounts import Account
from sekisho.apikeys import scopes
from sekisho.apikeys.actions import hold, revoke
from sekisho.apikeys.model import KEYS_MAX, ApiKey, HoldReason, digest_of
from sekisho.apikeys.tables import Owner, api_key, find_key, keys_of
from sekisho.apikeys.used import key_use
from sekisho.identity import KeyPolicy
from sekisho.users import Role, User
from tests.fakes.control import BY, NOW_MS, a_key, a_subuser, an_account, audited
from tests.fakes.dashboard import Browser, Dashboard
from tests.unit.doors.dashboard.hostile import HOSTILE, is_harmless, shows


def keys(dashboard: Dashboard, owner: Account) -> tuple[ApiKey, ...]:
    with dashboard.control.connect() as tx:
        return keys_of(tx, Owner(owner.account_id, owner.subuser_id), limit=KEYS_MAX)


def made(dashboard: Dashboard, owner: Account, *given: str, policy: KeyPolicy | None = None) -> ApiKey:
    with dashboard.control.begin() as tx:
        return a_key(tx, owner, policy or KeyPolicy(), frozenset(given) if given else None).key


def a_teammate(dashboard: Dashboard, tenant: Account, *held: str) -> User:
    return dashboard.a_person(tenant, "bob@example.com", role=Role.TEAMMATE, scopes=frozenset(held))


async def test_a_key_is_made_shown_once_and_is_its_makers(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    await browser.enter(ann)
    await browser.get("/keys/new")
    await browser.post("/keys", {"name": "shop", "access": "send"})
    assert browser.page.status_code == 200
    text = re.search(r'class="secret" type="text" readonly value="(SG\.[^"]+)"', browser.text)
    assert text is not None
    (key,) = keys(dashboard, acme)
    assert (key.name, key.given, key.maker_id) == ("shop", frozenset({"mail.send"}), ann.id)
    with dashboard.control.connect() as tx:
        assert tx.execute(api_key.select()).one().digest == digest_of(text[1].encode())
    for line in ("swaks --server relay.example.net --port 587", "curl -i https://relay.example.net/v3/mail/send"):
        assert line in html.unescape(browser.text)
    for path in ("/keys", f"/keys/{key.id}", f"/keys/{key.id}/edit", f"/keys/{key.id}/radius"):
        assert text[1] not in (await browser.get(path)).text
    assert ("key.create", key.id) in audited(dashboard.control)


async def test_every_limit_and_chosen_scopes_are_kept_and_shown_again(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    await browser.enter(ann)
    fields = {
        "name": "limited",
        "access": "chosen",
        "scope": ["mail.send", "stats.read"],
        "ips": "192.0.2.9/24\n2001:db8::/32",
        "from_domains": "Example.com",
        "from_addresses": "news@example.com",
        "rate": "10/s",
        "daily": "100",
        "max_recipients": "5",
        "expires": "2027-01-31",
    }
    await browser.post("/keys", fields)
    (key,) = keys(dashboard, acme)
    assert key.given == frozenset({"mail.send", "stats.read"})
    assert [str(network) for network in key.policy.ips] == ["192.0.2.0/24", "2001:db8::/32"]
    assert (key.policy.daily, key.policy.max_recipients) == (100, 5)
    await browser.get(f"/keys/{key.id}/edit")
    for shown in ("192.0.2.0/24\n2001:db8::/32", ">\nexample.com</textarea>", 'value="10/s"', "2027-01-31T00:00:00Z"):
        assert shown in browser.text
    assert 'value="stats.read" checked' in browser.text
    await browser.get(f"/keys/{key.id}")
    assert "news@example.com" in browser.text
    assert "2 scopes" in browser.text


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"name": " "}, "name", "Give the key a name"),
        ({"name": "x" * 201}, "name", "Give the key a name"),
        ({"access": "chosen"}, "access", "Choose at least one scope"),
        ({"access": "nonsense"}, "access", "Choose at least one scope"),
        ({"ips": "192.0.2.1\nnowhere"}, "ips", "nowhere: Write one address"),
        ({"from_domains": "-"}, "from_domains", "-: Write one domain"),
        ({"from_addresses": "me"}, "from_addresses", "me: Write one e-mail"),
        ({"rate": "fast"}, "rate", "fast: Write recipients per second"),
        ({"rate": "0/s"}, "rate", "0: Write recipients per second"),
        ({"daily": "-1"}, "daily", "Write a whole number"),
        ({"max_recipients": "99999999999"}, "max_recipients", "Write a whole number"),
        ({"expires": "2001-01-01"}, "expires", "Write a day or a time to come"),
    ],
)
async def test_what_is_wrong_stands_beside_its_field(  # noqa: PLR0917
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, wrong: dict[str, str], field: str, said: str
) -> None:
    await browser.enter(ann)
    await browser.post("/keys", {"name": "kept name", "access": "send", **wrong})
    assert browser.page.status_code == 422
    error = re.search(rf'id="{field}-error">([^<]*)<', browser.text)
    assert error is not None
    assert said in html.unescape(error[1])
    assert f'href="#{field}"' in browser.text
    assert "name" in wrong or 'value="kept name"' in browser.text
    assert keys(dashboard, acme) == ()


async def test_nobody_gives_more_than_he_has(dashboard: Dashboard, browser: Browser, acme: Account) -> None:
    bob = a_teammate(dashboard, acme, "api_keys.create", "api_keys.read", "api_keys.update", "mail.send")
    strong = made(dashboard, acme)
    await browser.enter(bob)
    await browser.get("/keys/new")
    assert 'value="stats.read"' not in browser.text
    await browser.post("/keys", {"name": "x", "access": "chosen", "scope": "stats.read"})
    assert browser.page.status_code == 422
    assert "You cannot give a scope that you do not have yourself." in browser.text
    await browser.post(f"/keys/{strong.id}", {"name": "mine", "access": "full"})
    assert browser.page.status_code == 422
    assert keys(dashboard, acme) == (strong,)
    await browser.post("/keys", {"name": "mine", "access": "full"})
    mine = next(key for key in keys(dashboard, acme) if key.name == "mine")
    assert mine.given is not None
    assert mine.given <= teammate_scopes(bob) | {"mail.send"}
    assert "stats.read" not in mine.scopes


def teammate_scopes(person: User) -> frozenset[str]:
    assert person.scopes is not None
    # What every teammate has, besides (vendor's minimum).
    return person.scopes | frozenset(scope for scope in scopes.FULL_ACCESS if scope.startswith("user."))


async def test_a_key_is_changed(dashboard: Dashboard, browser: Browser, acme: Account, ann: User) -> None:
    key = made(dashboard, acme, "mail.send", policy=KeyPolicy(daily=5))
    await browser.enter(ann)
    await browser.get(f"/keys/{key.id}/edit")
    await browser.post(f"/keys/{key.id}", {"name": "new name", "access": "full", "rate": "5/m"})
    assert browser.path == f"/keys/{key.id}"
    assert "The key was changed." in browser.text
    (after,) = keys(dashboard, acme)
    assert (after.name, after.scopes, after.policy.daily) == ("new name", scopes.FULL_ACCESS, None)


async def test_an_expired_key_is_renamed_without_a_new_life(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    key = made(dashboard, acme, "mail.send", policy=KeyPolicy(expires_ms=NOW_MS - 500))
    await browser.enter(ann)
    await browser.get(f"/keys/{key.id}/edit")
    shown = re.search(r'name="expires"[^>]*value="([^"]+)"', browser.text)
    assert shown is not None
    await browser.post(f"/keys/{key.id}", {"name": "old", "access": "send", "expires": shown[1]})
    (after,) = keys(dashboard, acme)
    assert (after.name, after.policy) == ("old", key.policy)


async def test_the_list_shows_state_and_last_use(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    await browser.enter(ann)
    await browser.get("/keys")
    assert "There is no key yet." in browser.text
    key, held = made(dashboard, acme, "mail.send"), made(dashboard, acme)
    with dashboard.control.begin() as tx:
        use = {"key_id": key.id, "first_ms": NOW_MS, "last_ms": NOW_MS, "last_address": "198.51.100.9"}
        tx.execute(key_use.insert().values(use))
        hold(tx, held, HoldReason.LEAK, "its text was seen in a mail", by=BY)
    await browser.get("/keys")
    for shown in ("198.51.100.9", ">active<", ">held<", "never", "Held keys", "Full access", "1 scope"):
        assert shown in browser.text
    await browser.get(f"/keys/{held.id}")
    assert "its text was seen in a mail" in browser.text


async def test_an_unfinished_form_goes_on_after_the_second_factor(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    await browser.enter(ann)
    await browser.get("/keys/new")
    dashboard.clock.go(11 * 60)
    await browser.post("/keys", {"name": "late", "access": "send"})
    assert browser.page.status_code == 403
    assert keys(dashboard, acme) == ()
    await browser.step_up(ann)
    assert 'class="secret"' in browser.text
    assert [key.name for key in keys(dashboard, acme)] == ["late"]


@pytest.mark.parametrize("act", ["", "/compromise", "/hold", "/purge", "/release", "/revoke"])
async def test_somebody_elses_key_is_not_there(dashboard: Dashboard, browser: Browser, ann: User, act: str) -> None:
    with dashboard.control.begin() as tx:
        theirs = a_key(tx, an_account(tx, "other")).key
    await browser.enter(ann)
    for key_id in (theirs.id, "n" * 22):
        await browser.get("/keys")
        await browser.post(f"/keys/{key_id}{act}", {"name": "x", "access": "send"})
        assert browser.page.status_code == 404
    with dashboard.control.connect() as tx:
        assert find_key(tx, theirs.id) == theirs


@pytest.mark.parametrize("tail", ["", "/edit", "/stop", "/radius"])
async def test_somebody_elses_key_has_no_page(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, tail: str
) -> None:
    with dashboard.control.begin() as tx:
        theirs = a_key(tx, an_account(tx, "other")).key
    revoked = made(dashboard, acme)
    with dashboard.control.begin() as tx:
        revoke(tx, revoked.id, compromised=False, by=BY)
    await browser.enter(ann)
    assert (await browser.get(f"/keys/{theirs.id}{tail}")).status_code == 404
    # What a revoked key did is still to be seen, nothing else of it.
    assert (await browser.get(f"/keys/{revoked.id}{tail}")).status_code == (200 if tail == "/radius" else 404)


@pytest.mark.parametrize("text", HOSTILE)
async def test_names_and_limits_do_no_harm(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User, text: str
) -> None:
    await browser.enter(ann)
    await browser.get("/keys/new")
    await browser.post("/keys", {"name": text, "access": "send"})
    assert is_harmless(browser.text, text)
    (key,) = keys(dashboard, acme)
    assert key.name == text
    with dashboard.control.begin() as tx:
        hold(tx, key, HoldReason.OPERATOR, text, by=BY)
    for path in ("/keys", *(f"/keys/{key.id}{tail}" for tail in ("", "/edit", "/stop", "/radius"))):
        page = await browser.get(path)
        assert page.status_code == 200
        assert shows(page.text, text)
    fields = dict.fromkeys(("ips", "from_domains", "from_addresses", "rate", "daily", "expires"), text)
    await browser.post("/keys", {"name": text, "access": "chosen", "scope": text, **fields})
    assert browser.page.status_code == 422
    assert is_harmless(browser.text, text)


async def test_a_subusers_keys_are_made_by_whoever_acts_for_it(
    dashboard: Dashboard, browser: Browser, acme: Account, ann: User
) -> None:
    with dashboard.control.begin() as tx:
        shop = a_subuser(tx, acme)
    await browser.enter(ann)
    await browser.post("/act-for", {"subuser": "shop"})
    await browser.get("/keys/new")
    assert 'value="subusers.read"' not in browser.text
    await browser.post("/keys", {"name": "theirs", "access": "full"})
    (key,) = keys(dashboard, shop)
    assert (key.name, key.given, key.maker_id) == ("theirs", None, ann.id)
    assert keys(dashboard, acme) == ()

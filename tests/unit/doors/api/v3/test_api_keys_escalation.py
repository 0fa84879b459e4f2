"""Keys that try to become more than they are, by way of other keys or of a moment's delay."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
import sqlalchemy as sa

from sekisho import ipaccess
from sekisho.accounts import Account, disable, list_subusers
from sekisho.apikeys.actions import Change, Issued, Wish, change, hold, issue, revoke
from sekisho.apikeys.model import HoldReason
from sekisho.apikeys.tables import api_key, find_key, keys_made_by, maker_of
from sekisho.identity import KeyPolicy
from tests.fakes.api import CLIENT, ApiDoor
from tests.fakes.control import BY, a_key, a_subuser, an_account

KEYS = "/v3/api_keys"

TOUCHING: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("PUT", "", {"name": "x", "scopes": ["mail.send"]}),
    ("PATCH", "", {"name": "x"}),
    ("PATCH", "", {"policy": {}}),
    ("PATCH", "", {"policy": {"daily": 1}}),
    ("POST", "/hold", None),
    ("POST", "/compromise/release", None),
    ("POST", "/compromise/purge", None),
)
"""What changes a key or sets it free, with bodies that grant nothing themselves."""

MANAGER = ("api_keys.create", "api_keys.delete", "api_keys.read", "api_keys.update", "mail.send")


@pytest.fixture
def acme(door: ApiDoor) -> Account:
    with door.control.begin() as tx:
        return an_account(tx)


def a_key_with(door: ApiDoor, owner: Account, *given: str, policy: KeyPolicy | None = None) -> Issued:
    with door.control.begin() as tx:
        return a_key(tx, owner, policy or KeyPolicy(), frozenset(given) or None)


@pytest.mark.parametrize(("method", "path", "body"), TOUCHING)
@pytest.mark.parametrize("held", [False, True])
async def test_nobody_touches_a_key_that_may_do_more(  # noqa: PLR0917
    door: ApiDoor, acme: Account, method: str, path: str, body: dict[str, Any] | None, held: bool
) -> None:
    manager = a_key_with(door, acme, *MANAGER)
    office = KeyPolicy(ips=(ip_network("192.0.2.0/24"),))
    narrow = a_key_with(door, acme, *MANAGER, policy=office)
    full, other = a_key_with(door, acme), a_key_with(door, acme, "mail.send", "stats.read", policy=office)
    loose = a_key_with(door, acme, "mail.send")
    if held:
        with door.control.begin() as tx:
            for key in (full, other, loose):
                hold(tx, key.key, HoldReason.LEAK, "seen", by=BY)
    # One has fewer scopes, the other has limits that the key it would touch does not have.
    for asking, more in ((manager, full), (manager, other), (narrow, loose)):
        with door.control.connect() as tx:
            before = find_key(tx, more.key.id)
        answer = await door.ask(method, f"{KEYS}/{more.key.id}{path}", asking, json=body)
        assert answer.status_code == 403, (asking.key.id, answer.text)
        with door.control.connect() as tx:
            assert find_key(tx, more.key.id) == before
    assert door.purged == []


@pytest.mark.parametrize("path", ["", "/compromise"])
async def test_whoever_may_end_keys_ends_any(door: ApiDoor, acme: Account, path: str) -> None:
    # To end one only takes away; in an emergency nobody should have to look for a key that may do everything.
    manager, full = a_key_with(door, acme, *MANAGER), a_key_with(door, acme)
    answer = await door.ask("POST" if path else "DELETE", f"{KEYS}/{full.key.id}{path}", manager)
    assert answer.is_success
    assert (await door.ask("GET", "/v3/scopes", full)).status_code == 401


async def test_a_key_may_make_itself_smaller_and_never_larger(door: ApiDoor, acme: Account) -> None:
    manager = a_key_with(door, acme, *MANAGER, policy=KeyPolicy(ips=(ip_network("192.0.2.0/24"),)))
    itself = f"{KEYS}/{manager.key.id}"
    for body in ({"name": "n", "scopes": [*MANAGER, "stats.read"]}, {"name": "n", "scopes": ["subusers.read"]}):
        assert (await door.ask("PUT", itself, manager, json=body)).status_code == 400
    looser: tuple[dict[str, Any], ...] = ({}, {"ips": []}, {"ips": ["0.0.0.0/0"]})
    for policy in looser:
        assert (await door.ask("PATCH", itself, manager, json={"policy": policy})).status_code == 403
    less = {"name": "n", "scopes": ["api_keys.update"], "policy": {"ips": ["192.0.2.7"]}}
    assert (await door.ask("PUT", itself, manager, json=less)).status_code == 200
    again = {"name": "n", "scopes": list(MANAGER)}
    assert (await door.ask("PUT", itself, manager, json=again)).status_code == 400


def _revoke(tx: sa.Connection, key: Issued, _owner: Account) -> None:
    revoke(tx, key.key.id, compromised=True, by=BY)


def _hold(tx: sa.Connection, key: Issued, _owner: Account) -> None:
    hold(tx, key.key, HoldReason.ANOMALY, "new network", by=BY)


def _narrow(tx: sa.Connection, key: Issued, _owner: Account) -> None:
    change(tx, key.key, Change(scopes=[*MANAGER]), by=BY)


def _disable(tx: sa.Connection, _key: Issued, owner: Account) -> None:
    disable(tx, owner, by=BY)


@pytest.mark.parametrize("end", [_revoke, _hold, _narrow, _disable])
async def test_a_key_that_ends_leaves_no_other_behind(door: ApiDoor, acme: Account, end: Any) -> None:
    """Between the commit that ends a key and the moment in which all processes know, it makes itself no heir."""
    thief, other = a_key_with(door, acme), a_key_with(door, acme)
    assert (await door.ask("GET", "/v3/scopes", thief)).status_code == 200  # it is in the cache
    with door.control.begin() as tx:
        end(tx, thief, acme)
    door.catch_up = lambda: None  # type: ignore[method-assign]  # the news is on its way
    asked = [
        ("POST", KEYS, {"name": "heir"}),
        ("PUT", f"{KEYS}/{thief.key.id}", {"name": "mine", "scopes": ["mail.send"]}),
        ("PATCH", f"{KEYS}/{other.key.id}", {"name": "mine"}),
        ("POST", f"{KEYS}/{thief.key.id}/compromise/release", None),
        ("POST", f"{KEYS}/{thief.key.id}/compromise/purge", None),
        ("DELETE", f"{KEYS}/{other.key.id}", None),
        ("POST", f"{KEYS}/{other.key.id}/compromise", None),
        ("POST", f"{KEYS}/{other.key.id}/hold", None),
    ]
    with door.control.connect() as tx:
        before = tx.execute(sa.select(api_key).order_by(api_key.c.id)).all()
    for method, path, body in asked:
        answer = await door.ask(method, path, thief, json=body)
        assert answer.status_code == 401, (method, path, answer.text)
    with door.control.connect() as tx:
        assert tx.execute(sa.select(api_key).order_by(api_key.c.id)).all() == before
    assert door.purged == []


@pytest.mark.parametrize("end", [_revoke, _hold, _narrow, _disable])
async def test_a_key_that_ends_leaves_no_subuser_and_no_open_list_behind(
    door: ApiDoor, acme: Account, end: Any
) -> None:
    thief = a_key_with(door, acme)
    with door.control.begin() as tx:
        shop = a_subuser(tx, acme, "news")
        ipaccess.add(tx, acme.id, [CLIENT], caller=None, confirmed=True, by=BY)
        (rule,) = ipaccess.rules_of(tx, acme.id)
    assert (await door.ask("GET", "/v3/scopes", thief)).status_code == 200
    with door.control.begin() as tx:
        end(tx, thief, acme)
    door.catch_up = lambda: None  # type: ignore[method-assign]  # the news is on its way
    made = {"username": "heir", "email": "heir@example.com", "password": "correct horse", "ips": []}
    rules = "/v3/access_settings/whitelist"
    asked: list[tuple[str, str, Any]] = [
        ("POST", "/v3/subusers", made),
        ("PATCH", "/v3/subusers/news", {"disabled": True}),
        ("PATCH", "/v3/subusers/news/website_access", {"disabled": True}),
        ("PUT", "/v3/subusers/news/credits", {"type": "nonrecurring", "total": 1}),
        ("DELETE", "/v3/subusers/news", None),
        ("POST", rules, {"ips": [{"ip": "203.0.113.9"}], "confirm": True}),
        ("DELETE", rules, {"ids": [rule.id], "confirm": True}),
        ("DELETE", f"{rules}/{rule.id}?confirm=true", None),
    ]
    for method, path, body in asked:
        answer = await door.ask(method, path, thief, json=body)
        assert answer.status_code == 401, (method, path, answer.text)
    with door.control.connect() as tx:
        assert list_subusers(tx) == (shop,)
        assert ipaccess.rules_of(tx, acme.id) == (rule,)


async def test_a_key_that_a_persons_key_makes_counts_as_that_persons(door: ApiDoor, acme: Account) -> None:
    with door.control.begin() as tx:
        made = issue(tx, acme, Wish("Ann's", KeyPolicy(), maker_id=41), by=BY)
        assert isinstance(made, Issued)
        accounts_own = a_key(tx, acme)
    first = await door.ask("POST", KEYS, made, json={"name": "second", "scopes": ["api_keys.create"]})
    second = await door.ask("POST", KEYS, first.json()["api_key"], json={"name": "third"})
    other = await door.ask("POST", KEYS, accounts_own, json={"name": "other"})
    with door.control.connect() as tx:
        found = [key.name for key in keys_made_by(tx, 41)]
        assert maker_of(tx, other.json()["api_key_id"]) is None
    assert sorted(found) == ["Ann's", "second", "third"]
    assert second.status_code == 201

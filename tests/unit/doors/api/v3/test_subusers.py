from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from sekisho.accounts import Account, find_subuser
from sekisho.accounts.model import account
from sekisho.apikeys.actions import Issued
from sekisho.audit import audit
from sekisho.identity import Identity
from sekisho.users import user
from tests.fakes.api import ApiDoor
from tests.fakes.control import NOW_MS, a_key, a_subuser, an_account, audited

NEW: dict[str, Any] = {
    "username": "shop",
    "email": "shop@example.com",
    "password": "correct horse battery",
    "ips": ["192.0.2.1"],
}


@pytest.fixture
def acme(door: ApiDoor) -> Account:
    with door.control.begin() as tx:
        return an_account(tx)


@pytest.fixture
def key(door: ApiDoor, acme: Account) -> Issued:
    with door.control.begin() as tx:
        return a_key(tx, acme)


def shop_of(door: ApiDoor) -> Account | None:
    with door.control.connect() as tx:
        return find_subuser(tx, "shop")


async def test_a_subuser_is_made_with_somebody_who_logs_in(door: ApiDoor, key: Issued) -> None:
    answer = await door.ask("POST", "/v3/subusers", key, json=NEW)
    made = shop_of(door)
    assert made is not None
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "username": "shop",
            "user_id": made.id,
            "email": "shop@example.com",
            "credit_allocation": {"type": "unlimited"},
        },
    )
    with door.control.connect() as tx:
        row = tx.execute(sa.select(user)).one()
    assert (row.account_id, row.email) == (made.id, "shop@example.com")
    assert row.password.startswith("$argon2id$")
    assert NEW["password"] not in str(row)
    assert ("subuser.create", "shop") in audited(door.control)


@pytest.mark.parametrize(
    ("change", "message", "field"),
    [
        ({"email": "no address"}, "'no address' is not an e-mail address", "email"),
        ({"password": "short"}, "a password has 8 to 256 characters", "password"),
        ({"ips": ["none"]}, "unable to validate IPs at this time", "ips"),
        ({"ips": [1]}, "Invalid type. Expected: string, given: integer.", "ips.0"),
        ({"username": "-x"}, None, "username"),
        ({"username": None}, "Invalid type. Expected: string, given: null.", "username"),
        ({"region": "eu"}, "this server has one region, global", "region"),
    ],
)
async def test_what_is_wrong_with_a_new_one_is_named(
    door: ApiDoor, key: Issued, change: dict[str, Any], message: str | None, field: str
) -> None:
    answer = await door.ask("POST", "/v3/subusers", key, json=NEW | change)
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (400, field)
    assert message is None or error["message"] == message
    assert shop_of(door) is None


async def test_a_name_is_anybodys_only_once(door: ApiDoor, key: Issued) -> None:
    with door.control.begin() as tx:
        a_subuser(tx, an_account(tx, "other"), "taken")
    for name in ("taken", "TAKEN", "acme"):
        answer = await door.ask("POST", "/v3/subusers", key, json=NEW | {"username": name})
        assert (answer.status_code, answer.json()["errors"][0]["message"]) == (400, "username exists")


async def test_subusers_are_listed_in_pages_and_by_name(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        for name in ("b-shop", "a-shop", "news"):
            a_subuser(tx, acme, name)
        a_subuser(tx, an_account(tx, "other"), "others-shop")
    every = await door.ask("GET", "/v3/subusers", key)
    assert [one["username"] for one in every.json()] == ["a-shop", "b-shop", "news"]
    assert every.json()[0].keys() == {"id", "username", "email", "disabled"}
    page = await door.ask("GET", "/v3/subusers", key, params={"limit": 1, "offset": 1, "username": "SHOP"})
    assert [one["username"] for one in page.json()] == ["b-shop"]
    assert 'rel="next"' in page.headers["link"]
    assert "username=SHOP" in page.headers["link"]
    wildcard = await door.ask("GET", "/v3/subusers", key, params={"username": "%"})
    assert wildcard.json() == []
    assert (await door.ask("GET", "/v3/subusers", key, params={"region": "eu"})).json() == []
    told = await door.ask("GET", "/v3/subusers", key, params={"include_region": "true"})
    assert {one["region"] for one in told.json()} == {"global"}


async def test_a_disabled_one_is_let_in_nowhere_until_it_is_enabled(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        own = a_key(tx, a_subuser(tx, acme))
    assert (await door.ask("PATCH", "/v3/subusers/shop", key, json={"disabled": True})).status_code == 204
    assert (await door.ask("GET", "/v3/scopes", own)).status_code == 401
    assert (await door.ask("PATCH", "/v3/subusers/shop", key, json={"disabled": False})).status_code == 204
    assert (await door.ask("GET", "/v3/scopes", own)).status_code == 200
    nothing = await door.ask("PATCH", "/v3/subusers/shop", key, json={})
    assert (nothing.status_code, nothing.json()["errors"][0]["message"]) == (400, "no fields provided")


async def test_a_deleted_one_is_gone_with_its_keys_and_what_is_personal(door: ApiDoor, key: Issued) -> None:
    await door.ask("POST", "/v3/subusers", key, json=NEW)
    shop = shop_of(door)
    assert shop is not None
    with door.control.begin() as tx:
        own = a_key(tx, shop)
    answer = await door.ask("DELETE", "/v3/subusers/shop", key)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await door.ask("GET", "/v3/scopes", own)).status_code == 401
    assert (await door.ask("DELETE", "/v3/subusers/shop", key)).status_code == 404
    with door.control.connect() as tx:
        kept = str([tx.execute(sa.select(table)).all() for table in (account, audit)])
        assert tx.execute(sa.select(user)).all() == []
    assert "shop@example.com" not in kept
    assert ("subuser.delete", "shop") in audited(door.control)
    assert (await door.ask("POST", "/v3/subusers", key, json=NEW)).status_code == 200


async def test_website_access_leaves_sending_alone(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        own = a_key(tx, a_subuser(tx, acme))
    answer = await door.ask("PATCH", "/v3/subusers/shop/website_access", key, json={"disabled": True})
    assert answer.status_code == 204
    shop = shop_of(door)
    assert shop is not None
    assert shop.website_disabled_ms == NOW_MS
    assert (await door.ask("GET", "/v3/scopes", own)).status_code == 200


async def test_credits_are_granted_and_added_to(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        own = a_key(tx, a_subuser(tx, acme))
    path = "/v3/subusers/shop/credits"
    unlimited = {"type": "unlimited", "reset_frequency": None, "remain": None, "total": None, "used": None}
    assert (await door.ask("GET", path, key)).json() == unlimited
    recurring = {"type": "recurring", "reset_frequency": "daily", "total": 200}
    granted = await door.ask("PUT", path, key, json=recurring)
    assert (granted.status_code, granted.json()) == (200, recurring | {"remain": 200, "used": 0})
    more = await door.ask("PATCH", f"{path}/remaining", key, json={"allocation_update": -50})
    assert more.json() == recurring | {"remain": 150, "used": 0}
    mine = (await door.ask("GET", "/v3/user/credits", own)).json()
    assert (mine["remain"], mine["total"], mine["reset_frequency"]) == (150, 200, "daily")
    once = await door.ask("PUT", path, key, json={"type": "nonrecurring", "total": 10})
    assert once.json() == unlimited | {"type": "nonrecurring", "remain": 10}
    assert (await door.ask("PUT", path, key, json={"type": "unlimited"})).json() == unlimited
    impossible = await door.ask("PATCH", f"{path}/remaining", key, json={"allocation_update": 5})
    assert impossible.status_code == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"type": "some"}, "type"),
        ({"type": "recurring", "total": 0, "reset_frequency": "daily"}, "total"),
        ({"type": "recurring", "total": 5}, "reset_frequency"),
        ({"type": "recurring", "total": 5, "reset_frequency": "hourly"}, "reset_frequency"),
        ({"type": "nonrecurring"}, "total"),
        ({}, "type"),
    ],
)
async def test_a_grant_that_is_none_is_named(
    door: ApiDoor, acme: Account, key: Issued, body: dict[str, Any], field: str
) -> None:
    with door.control.begin() as tx:
        a_subuser(tx, acme)
    answer = await door.ask("PUT", "/v3/subusers/shop/credits", key, json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


async def test_the_identity_of_a_subusers_key_knows_its_grant(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        own = a_key(tx, a_subuser(tx, acme))
    await door.ask("PUT", "/v3/subusers/shop/credits", key, json={"type": "nonrecurring", "total": 10})
    door.catch_up()
    identity = await door.verifier.authenticate(own.text, door.address)
    assert isinstance(identity, Identity)
    assert [one.total for one in identity.credits] == [10]


PLACES = (
    ("PATCH", "/v3/subusers/{}", {"disabled": True}),
    ("DELETE", "/v3/subusers/{}", None),
    ("PATCH", "/v3/subusers/{}/website_access", {"disabled": True}),
    ("GET", "/v3/subusers/{}/credits", None),
    ("PUT", "/v3/subusers/{}/credits", {"type": "nonrecurring", "total": 1}),
    ("PATCH", "/v3/subusers/{}/credits/remaining", {"allocation_update": 1}),
    ("GET", "/v3/subusers/{}/stats/monthly?date=2026-11-01", None),
    ("GET", "/v3/subusers/reputations?usernames={}", None),
    ("GET", "/v3/subusers/stats?start_date=2026-11-01&subusers={}", None),
)


@pytest.mark.parametrize(("method", "path", "body"), PLACES)
async def test_somebody_elses_subuser_is_as_unknown_as_none(
    door: ApiDoor, key: Issued, method: str, path: str, body: dict[str, Any] | None
) -> None:
    with door.control.begin() as tx:
        theirs = a_subuser(tx, an_account(tx, "other"), "theirs")
    answers = [await door.ask(method, path.format(name), key, json=body) for name in ("theirs", "nobody")]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    with door.control.connect() as tx:
        assert find_subuser(tx, "theirs") == theirs


@pytest.mark.parametrize(("method", "path", "body"), [*PLACES, ("GET", "/v3/subusers", None)])
async def test_a_subusers_key_has_no_business_there(
    door: ApiDoor, acme: Account, method: str, path: str, body: dict[str, Any] | None
) -> None:
    with door.control.begin() as tx:
        own = a_key(tx, a_subuser(tx, acme))
    assert (await door.ask(method, path.format("shop"), own, json=body)).status_code == 403


async def test_on_behalf_of_has_no_business_there_either(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        a_subuser(tx, acme)
    assert (await door.ask("GET", "/v3/subusers", key, headers={"on-behalf-of": "shop"})).status_code == 403

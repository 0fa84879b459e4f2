"""Teammates by the API: the vendor's texts, and that nobody becomes more than he is by way of a key."""

from __future__ import annotations

from typing import Any

import pytest

from sekisho import notices, teammates, users
from sekisho.accounts import Account
from sekisho.apikeys.actions import Issued, Wish, issue
from sekisho.apikeys.scopes import FULL_ACCESS
from sekisho.apikeys.tables import keys_made_by, maker_of
from sekisho.identity import KeyPolicy
from sekisho.refusal import Declined
from sekisho.users import User
from tests.fakes.api import ApiDoor
from tests.fakes.control import BY, a_key, a_subuser, an_account
from tests.fakes.people import a_restricted_teammate, a_teammate, an_admin, an_invitation, an_owner
from tests.unit.doors.api.examples import everything

MATES = "/v3/teammates"
NEW = {"email": "new@example.org", "scopes": ["stats.read"], "is_admin": False}
CHANGE = {"scopes": ["mail.send"], "is_admin": False}
UNKNOWN = CHANGE | {"scopes": ["x"]}


@pytest.fixture
def acme(door: ApiDoor) -> Account:
    with door.control.begin() as tx:
        return an_account(tx)


def a_key_of(door: ApiDoor, maker: User | None, tenant: Account, *given: str) -> Issued:
    with door.control.begin() as tx:
        wish = Wish("k", KeyPolicy(), given or None, maker_id=None if maker is None else maker.id)
        made = issue(tx, tenant, wish, by=BY)
        assert isinstance(made, Issued)
        return made


def error_of(answer: Any) -> tuple[int, str, str | None]:
    (one,) = answer.json()["errors"]
    return answer.status_code, one["message"], one["field"]


async def test_the_vendors_sentences(door: ApiDoor, acme: Account) -> None:
    with door.control.begin() as tx:
        a_teammate(tx, acme)
    key = a_key_of(door, None, acme)
    for method, path, body, expected in (
        ("POST", MATES, NEW | {"scopes": ["x"]}, (400, "invalid or unassignable scopes were given", "scopes")),
        (
            "PATCH",
            f"{MATES}/tim",
            CHANGE | {"scopes": ["x"]},
            (400, "one or more of given scopes are invalid", "scopes"),
        ),
        ("PATCH", f"{MATES}/nobody", CHANGE, (404, "username not found", "username")),
        ("DELETE", f"{MATES}/nobody", None, (404, "username not found", "username")),
        ("POST", f"{MATES}/pending/x/resend", None, (404, "invalid pending key", "pending_key")),
        ("DELETE", f"{MATES}/pending/x", None, (404, "invalid pending key", "pending_key")),
    ):
        assert error_of(await door.ask(method, path, key, json=body)) == expected, path


async def test_only_keys_of_those_who_manage_manage(door: ApiDoor, acme: Account) -> None:
    with door.control.begin() as tx:
        owner, admin, plain = an_owner(tx, acme), an_admin(tx, acme), a_teammate(tx, acme, "pia", FULL_ACCESS)
        gone = a_teammate(tx, acme, "gone", FULL_ACCESS)
        a_teammate(tx, acme)
        token = an_invitation(tx, acme).token
        asked = teammates.ask(tx, acme, plain, "Templates", by=BY)
        assert not isinstance(asked, Declined)
    keys = {person: a_key_of(door, person, acme) for person in (owner, admin, plain, gone)}
    with door.control.begin() as tx:
        users.remove(tx, gone, by=BY)
    before = everything(door.control)
    for person in (plain, gone):
        for method, path, body in (
            ("POST", MATES, NEW | {"email": "x@example.org"}),
            ("PATCH", f"{MATES}/tim", CHANGE),
            ("PATCH", f"{MATES}/pia", {"scopes": [], "is_admin": True}),
            ("DELETE", f"{MATES}/tim", None),
            ("POST", f"{MATES}/pending/{token}/resend", None),
            ("DELETE", f"{MATES}/pending/{token}", None),
            ("PATCH", f"/v3/scopes/requests/{asked.id}/approve", None),
            ("DELETE", f"/v3/scopes/requests/{asked.id}", None),
        ):
            assert (await door.ask(method, path, keys[person], json=body)).status_code == 403, path
    assert everything(door.control) == before
    for person in (owner, admin):
        assert (await door.ask("PATCH", f"{MATES}/tim", keys[person], json=CHANGE)).status_code == 200


async def test_an_administrators_key_does_not_reach_himself_nor_the_owner(door: ApiDoor, acme: Account) -> None:
    with door.control.begin() as tx:
        an_owner(tx, acme)
        admin = an_admin(tx, acme)
    key = a_key_of(door, admin, acme)
    before = everything(door.control)
    for name in ("ada", "olga"):
        assert (await door.ask("PATCH", f"{MATES}/{name}", key, json=CHANGE)).status_code == 403
        assert (await door.ask("DELETE", f"{MATES}/{name}", key)).status_code == 403
    assert everything(door.control) == before


async def test_a_key_gives_people_no_more_than_it_has(door: ApiDoor, acme: Account) -> None:
    some = a_key_of(door, None, acme, "teammates.create", "stats.read")
    with door.control.begin() as tx:
        limited = a_key(tx, acme, KeyPolicy(daily=5))
    before = everything(door.control)
    for body in (NEW | {"scopes": ["mail.send"]}, NEW | {"scopes": [], "is_admin": True}):
        assert (await door.ask("POST", MATES, some, json=body)).status_code == 400
    assert (await door.ask("POST", MATES, limited, json=NEW)).status_code == 403
    assert everything(door.control) == before
    assert (await door.ask("POST", MATES, some, json=NEW)).status_code == 201


async def test_a_teammates_key_acts_for_no_subuser(door: ApiDoor, acme: Account) -> None:
    with door.control.begin() as tx:
        shop = a_subuser(tx, acme)
        grant = teammates.Grant(teammates.Permission.ADMIN)
        people = (a_teammate(tx, acme), a_restricted_teammate(tx, acme, {shop: grant}))
        admin = an_admin(tx, acme)
    behalf = {"on-behalf-of": shop.name}
    for person in people:
        key = a_key_of(door, person, acme)
        assert (await door.ask("GET", "/v3/api_keys", key)).status_code == 200
        assert (await door.ask("GET", "/v3/api_keys", key, headers=behalf)).status_code == 403
        assert (await door.ask("POST", "/v3/api_keys", key, headers=behalf, json={"name": "x"})).status_code == 403
    key = a_key_of(door, admin, acme)
    assert (await door.ask("GET", "/v3/api_keys", key, headers=behalf)).status_code == 200


async def test_a_removed_teammates_keys_stay_and_the_owner_is_told(door: ApiDoor, acme: Account) -> None:
    with door.control.begin() as tx:
        tim, admin = a_teammate(tx, acme), an_admin(tx, acme)
    plain, strong = a_key_of(door, tim, acme), a_key_of(door, admin, acme)
    key = a_key_of(door, None, acme)
    for name in ("tim", "ada"):
        assert (await door.ask("DELETE", f"{MATES}/{name}", key)).status_code == 204
        assert (await door.ask("GET", f"{MATES}/{name}", key)).status_code == 404
    for kept in (plain, strong):
        assert (await door.ask("GET", "/v3/scopes", kept)).status_code == 200
    with door.control.connect() as tx:
        told = notices.listing(tx, acme.id, limit=5)
        # Of a plain one it is known for ever whose it was; an administrator's is the account's own from now on.
        assert [one.id for one in keys_made_by(tx, tim.id)] == [plain.key.id]
        assert maker_of(tx, strong.key.id) is None
    assert [(one.kind, one.subject) for one in told] == [("teammate.removed", "ada"), ("teammate.removed", "tim")]
    assert plain.key.id in told[1].text
    assert (await door.ask("POST", MATES, plain, json=NEW)).status_code == 403


async def test_all_subusers_are_an_administrators_page_by_page(door: ApiDoor, acme: Account) -> None:
    with door.control.begin() as tx:
        for name in ("shop", "club", "bar"):
            a_subuser(tx, acme, name)
        an_admin(tx, acme)
    key = a_key_of(door, None, acme)
    seen: list[str] = []
    after: dict[str, Any] = {}
    while after.get("after_subuser_id", 0) is not None:
        answer = await door.ask("GET", f"{MATES}/ada/subuser_access", key, params={"limit": 2} | after)
        body = answer.json()
        assert not body["has_restricted_subuser_access"]
        seen += [one["username"] for one in body["subuser_access"]]
        after = {"after_subuser_id": body["_metadata"]["next_params"]["after_subuser_id"]}
    assert seen == ["shop", "club", "bar"]
    one = await door.ask("GET", f"{MATES}/ada/subuser_access", key, params={"username": "LU"})
    assert [one["username"] for one in one.json()["subuser_access"]] == ["club"]

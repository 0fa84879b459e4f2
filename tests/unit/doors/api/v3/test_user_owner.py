"""The owner's address, user name and profile by the API."""

from __future__ import annotations

from typing import Any, Final

import pytest
import sqlalchemy as sa

from sekisho import users
from sekisho.accounts import Account, account_by_id
from sekisho.apikeys.actions import Issued, Wish, issue
from sekisho.db import Database
from sekisho.identity import KeyPolicy
from sekisho.letters.tables import letter
from sekisho.users import User
from tests.fakes.api import ApiDoor
from tests.fakes.control import BY, a_key, a_subuser, an_account, audited
from tests.fakes.people import a_teammate, an_admin, an_owner
from tests.unit.doors.api.examples import everything

EMAIL: Final = "/v3/user/email"
USERNAME: Final = "/v3/user/username"
PROFILE: Final = "/v3/user/profile"
CHANGES: Final = (
    ("PUT", EMAIL, {"email": "new@example.org"}),
    ("PUT", USERNAME, {"username": "new"}),
    ("PATCH", PROFILE, {"city": "Kyoto"}),
)


@pytest.fixture
def acme(door: ApiDoor) -> Account:
    with door.control.begin() as tx:
        return an_account(tx)


@pytest.fixture
def key(door: ApiDoor, acme: Account) -> Issued:
    with door.control.begin() as tx:
        return a_key(tx, acme)


@pytest.fixture
def olga(door: ApiDoor, acme: Account) -> User:
    with door.control.begin() as tx:
        return an_owner(tx, acme)


def a_key_of(door: ApiDoor, maker: User, tenant: Account) -> Issued:
    with door.control.begin() as tx:
        made = issue(tx, tenant, Wish("k", KeyPolicy(), None, maker_id=maker.id), by=BY)
        assert isinstance(made, Issued)
        return made


def owner(database: Database, tenant: Account) -> User:
    with database.connect() as tx:
        found = users.owner_of(tx, tenant.id)
    assert found is not None
    return found


def error_of(answer: Any) -> tuple[int, str | None]:
    (one,) = answer.json()["errors"]
    return answer.status_code, one["field"]


@pytest.mark.usefixtures("olga")
async def test_an_address_is_asked_for_and_not_changed(door: ApiDoor, acme: Account, key: Issued) -> None:
    answer = await door.ask("PUT", EMAIL, key, json={"email": "new@example.org"})
    assert (answer.status_code, answer.json()) == (200, {"email": "new@example.org"})
    assert (await door.ask("GET", EMAIL, key)).json() == {"email": "olga@example.org"}
    person = owner(door.control, acme)
    assert (person.email, person.login_email) == ("olga@example.org", "olga@example.org")
    with door.control.connect() as tx:
        sent = tx.execute(sa.select(letter.c.kind, letter.c.to_email).order_by(letter.c.id)).all()
    # The link goes to the new address, the warning to the old one.
    assert [tuple(row) for row in sent] == [
        ("email_confirm", "new@example.org"),
        ("email_asked", "olga@example.org"),
    ]
    assert ("user.email_asked", "olga") in audited(door.control)
    assert error_of(await door.ask("PUT", EMAIL, key, json={"email": "new"})) == (400, "email")


async def test_of_an_account_that_nobody_has_set_up(door: ApiDoor, acme: Account, key: Issued) -> None:
    assert (await door.ask("GET", EMAIL, key)).json() == {"email": acme.owner_email}
    assert (await door.ask("GET", USERNAME, key)).json() == {"username": "acme", "user_id": acme.id}
    with door.control.begin() as tx:
        a_subuser(tx, acme)
    assert (await door.ask("GET", EMAIL, key, headers={"on-behalf-of": "shop"})).json() == {"email": ""}
    assert set((await door.ask("GET", PROFILE, key)).json().values()) == {""}
    before = everything(door.control)
    for method, path, body in CHANGES:
        answer = await door.ask(method, path, key, json=body)
        assert answer.status_code == 404, path
        assert answer.json()["errors"][0]["help"] == "nobody has set this account up yet"
    assert everything(door.control) == before


@pytest.mark.usefixtures("olga")
async def test_a_user_name_is_for_logging_in_alone(door: ApiDoor, acme: Account, key: Issued) -> None:
    answer = await door.ask("PUT", USERNAME, key, json={"username": "olga.two"})
    assert (answer.status_code, answer.json()) == (200, {"username": "olga.two"})
    assert (await door.ask("GET", USERNAME, key)).json() == {"username": "olga.two", "user_id": acme.id}
    with door.control.begin() as tx:
        a_teammate(tx, acme)
        after = account_by_id(tx, acme.id)
    assert after is not None
    assert after.name == "acme"
    for name in ("", "tim", "a b", "someone@example.org"):
        assert error_of(await door.ask("PUT", USERNAME, key, json={"username": name})) == (400, "username"), name
    assert owner(door.control, acme).username == "olga.two"


@pytest.mark.usefixtures("olga")
async def test_a_profile_is_merged(door: ApiDoor, key: Issued) -> None:
    for change in ({"city": "Kyoto", "zip": "600-8216"}, {"city": "", "country": "JP"}):
        answer = await door.ask("PATCH", PROFILE, key, json=change)
        assert answer.status_code == 200
    shown = (await door.ask("GET", PROFILE, key)).json()
    assert shown == answer.json()
    assert {name: value for name, value in shown.items() if value} == {"zip": "600-8216", "country": "JP"}
    assert len(shown) == 11
    for wrong in ({}, {"city": None}, {"city": "x" * 1000}, {"town": "Kyoto"}):
        assert (await door.ask("PATCH", PROFILE, key, json=wrong)).status_code == 400, wrong
    assert (await door.ask("GET", PROFILE, key)).json() == shown


async def test_nobody_becomes_the_owner_by_way_of_a_key(door: ApiDoor, acme: Account, olga: User) -> None:
    with door.control.begin() as tx:
        admin, mate = an_admin(tx, acme), a_teammate(tx, acme)
    theirs = [a_key_of(door, one, acme) for one in (admin, mate)]
    own = a_key_of(door, olga, acme)
    before = everything(door.control)
    for one in theirs:
        for method, path, body in CHANGES:
            assert (await door.ask(method, path, one, json=body)).status_code == 403, path
    assert everything(door.control) == before
    for method, path, body in CHANGES:
        assert (await door.ask(method, path, own, json=body)).status_code == 200, path


@pytest.mark.usefixtures("olga")
async def test_a_parent_acts_for_a_subusers_owner(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        shop = a_subuser(tx, acme)
        an_owner(tx, shop, "sam")
    behalf = {"on-behalf-of": "shop"}
    for method, path, body in CHANGES:
        assert (await door.ask(method, path, key, json=body, headers=behalf)).status_code == 200, path
    assert (await door.ask("GET", USERNAME, key, headers=behalf)).json() == {"username": "new", "user_id": shop.id}
    assert (await door.ask("GET", USERNAME, key)).json() == {"username": "olga", "user_id": acme.id}
    assert owner(door.control, shop).profile.city == "Kyoto"
    assert owner(door.control, acme).profile.city == ""

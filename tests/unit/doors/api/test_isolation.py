"""Nothing of another can be read, changed, counted or guessed: every route, every pair of tenants.

What one asks for by the id of something foreign is answered as if nothing had that id, to the octet, and no row of any
table changes. What lists and counts say to one does not change with what the others have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
import sqlalchemy as sa

from sekisho import ipaccess, notices, teammates
from sekisho.accounts import Account
from sekisho.apikeys.actions import Issued
from sekisho.db import Database
from sekisho.domains.tables import domain
from sekisho.doors.api.routes import ROUTES, Behalf
from sekisho.refusal import Declined
from tests.fakes.api import CLIENT, ApiDoor
from tests.fakes.control import BY, NOW_MS, a_domain, a_key, a_subuser, an_account
from tests.fakes.databases import Engine
from tests.fakes.people import a_teammate, an_invitation
from tests.unit.doors.api.examples import MAIL, UNKNOWN, arguments, everything, fill, parts_of

pytestmark = pytest.mark.parametrize("engine", [Engine.SQLITE])

Place = tuple[str, str]

GRANTED: Final = "stats.read"


@dataclass(frozen=True)
class Tenant:
    """An account or subuser with something of every kind."""

    account: Account
    key: Issued
    ids: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.account.name

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts that tell of it, wherever they appear."""
        # Numbers of requests are too short to be recognized by.
        return (*(text for kind, text in self.ids.items() if kind != "request_id"), f"{self.name}.example")


@dataclass(frozen=True)
class Town:
    """A parent with two subusers, and another account with one."""

    parent: Tenant
    a: Tenant
    b: Tenant
    other: Tenant
    others_subuser: Tenant

    @property
    def foreign(self) -> list[tuple[Tenant, Tenant]]:
        """(who asks, whose things): pairs in which nothing may be seen."""
        return [
            (self.a, self.b),
            (self.a, self.parent),
            (self.a, self.other),
            (self.b, self.a),
            (self.parent, self.other),
            (self.parent, self.others_subuser),
            (self.other, self.parent),
            (self.other, self.a),
            (self.others_subuser, self.a),
            (self.others_subuser, self.other),
        ]


def furnish(tx: sa.Connection, account: Account, network: str) -> Tenant:
    """Give it a key, an allow list, a verified domain, an audit log, and something it was told."""
    name = account.name
    key = a_key(tx, account)
    spare = a_key(tx, account, scopes=frozenset((GRANTED,)))
    rules = ipaccess.add(tx, account.id, [f"{CLIENT}/32", network], caller=None, confirmed=True, by=BY)
    assert not isinstance(rules, Declined)
    claim = a_domain(tx, account, f"{name}.example")
    tx.execute(sa.update(domain).where(domain.c.id == claim.id).values(valid=True))
    notices.tell(tx, account.id, notices.Kind.KEY_HELD, spare.key.id, f"about {name}", at_ms=NOW_MS)
    mate = a_teammate(tx, account, f"{name}-mate")
    asked = teammates.ask(tx, account, mate, "Templates", by=BY)
    invited = an_invitation(tx, account, f"guest@{name}.example")
    assert not isinstance(asked, Declined)
    ids = {
        "api_key_id": spare.key.id,
        "request_id": str(asked.id),
        "rule_id": str(rules[-1].id),
        "subuser_name": name,
        "teammate_name": mate.username,
        "token": invited.token,
        "username": mate.username,
    }
    assert ids.keys() == UNKNOWN.keys()
    return Tenant(account, key, ids)


@pytest.fixture
def town(door: ApiDoor) -> Town:
    with door.control.begin() as tx:
        parent = an_account(tx, "quince")
        other = an_account(tx, "medlar")
        made = [a_subuser(tx, parent, name) for name in ("yuzuone", "kabosu")] + [a_subuser(tx, other, "sudachi")]
        one, two, foreign = made
        return Town(
            parent=furnish(tx, parent, "198.51.100.16/32"),
            a=furnish(tx, one, "198.51.100.32/32"),
            b=furnish(tx, two, "198.51.100.64/32"),
            other=furnish(tx, other, "203.0.113.16/32"),
            others_subuser=furnish(tx, foreign, "203.0.113.32/32"),
        )


async def ask(
    door: ApiDoor, place: Place, key: Issued, ids: Mapping[str, str] = UNKNOWN, **changes: Any
) -> tuple[int, bytes]:
    """Call a route as its owner would, without rate limits."""
    door.clock.passed_s += 60
    door.clock.at_ms += 60_000
    method, path = place
    answer = await door.ask(method, fill(path, ids), key, **arguments(place, **changes))
    return answer.status_code, answer.content


WITH_IDS: Final = sorted(place for place in ROUTES if parts_of(place[1]))
WITHOUT_IDS: Final = sorted(place for place, route in ROUTES.items() if not parts_of(place[1]) and not route.public)
BY_BODY: Final[dict[Place, Any]] = {
    ("DELETE", "/v3/access_settings/whitelist"): lambda ids: {"ids": [int(ids["rule_id"])]},
}
"""Ids that stand in bodies."""
READS: Final = [place for place in WITHOUT_IDS if place[0] == "GET"]


async def test_foreign_ids_are_ids_of_nothing(door: ApiDoor, town: Town) -> None:
    before = everything(door.control)
    for place in WITH_IDS:
        unknown = {
            who.name: await ask(door, place, who.key) for who in {one.name: one for one, _ in town.foreign}.values()
        }
        for who, whose in town.foreign:
            status, body = await ask(door, place, who.key, whose.ids)
            assert (status, body) == unknown[who.name], (place, who.name, whose.name)
            assert status in {403, 404}, place
    assert everything(door.control) == before
    assert door.purged == []


async def test_foreign_ids_in_bodies_are_ids_of_nothing(door: ApiDoor, town: Town) -> None:
    before = everything(door.control)
    for place, write in BY_BODY.items():
        for who, whose in town.foreign:
            unknown = await ask(door, place, who.key, json=write(UNKNOWN))
            assert await ask(door, place, who.key, json=write(whose.ids)) == unknown
            assert unknown[0] == 404
    assert everything(door.control) == before


async def test_one_knows_ones_own(door: ApiDoor, town: Town) -> None:
    """Else the tests above would pass on a door that is shut to everybody."""
    for who in (town.parent, town.a, town.b, town.other, town.others_subuser):
        for place in (("GET", "/v3/api_keys/{api_key_id}"), ("GET", "/v3/access_settings/whitelist/{rule_id}")):
            assert (await ask(door, place, who.key, who.ids))[0] == 200
    own = await ask(door, ("GET", "/v3/subusers/{subuser_name}/credits"), town.parent.key, town.a.ids)
    assert own[0] == 200


async def test_on_behalf_of_a_foreign_subuser_is_as_of_none(door: ApiDoor, town: Town) -> None:
    before = everything(door.control)
    honouring = [place for place, route in ROUTES.items() if route.behalf is Behalf.HONOURED]
    assert honouring
    for place in honouring:
        for who, whose in (
            (town.parent, town.others_subuser),
            (town.parent, town.other),
            (town.a, town.b),
            (town.other, town.b),
        ):
            answers = {
                await ask(door, place, who.key, whose.ids, headers={"on-behalf-of": name})
                for name in (whose.name, "nobody", "n" * 65, whose.name.upper())
            }
            assert len(answers) == 1, (place, who.name)
            assert next(iter(answers))[0] == 403
    assert everything(door.control) == before


async def test_on_behalf_of_one_subuser_nothing_of_another_is_seen(door: ApiDoor, town: Town) -> None:
    before = everything(door.control)
    behalf = {"on-behalf-of": town.a.name}
    for place in (place for place in WITH_IDS if ROUTES[place].behalf is Behalf.HONOURED):
        unknown = await ask(door, place, town.parent.key, headers=behalf)
        for whose in (town.b, town.parent, town.other):
            assert await ask(door, place, town.parent.key, whose.ids, headers=behalf) == unknown, (place, whose.name)
        assert unknown[0] == 404
    assert everything(door.control) == before


async def test_a_call_that_is_about_subusers_is_for_nobody_else(door: ApiDoor, town: Town) -> None:
    before = everything(door.control)
    refusing = [place for place, route in ROUTES.items() if route.behalf is Behalf.REFUSED]
    assert refusing
    for place in refusing:
        assert (await ask(door, place, town.a.key, town.b.ids))[0] == 403
        assert (await ask(door, place, town.parent.key, town.b.ids, headers={"on-behalf-of": town.a.name}))[0] == 403
    assert everything(door.control) == before


async def test_lists_and_counts_tell_of_nobody_else(door: ApiDoor, town: Town) -> None:
    told: dict[tuple[Place, str], tuple[int, bytes]] = {}
    at = door.clock.at_ms
    for place in READS:
        for who, whose in town.foreign:
            door.clock.at_ms = at
            status, body = await ask(door, place, who.key)
            told[place, who.name] = (status, body)
            if ROUTES[place].behalf is not Behalf.REFUSED:
                assert status == 200, place
            # The name of one's own parent stands in the entry of the audit log that one was made with.
            known = {whose.name} if who.account.parent_id == whose.account.id else set()
            seen = [mark for mark in whose.marks if mark.encode() in body and mark not in known]
            assert not seen, (place, who.name, whose.name)
    # The others get more of everything; only parents hear of what their subusers were told.
    for grown in (town.b, town.other):
        grow(door.control, grown.account)
    for place in READS:
        for who in (town.a, town.others_subuser):
            door.clock.at_ms = at
            assert await ask(door, place, who.key) == told[place, who.name], (place, who.name)


def grow(database: Database, account: Account) -> None:
    with database.begin() as tx:
        a_key(tx, account)
        ipaccess.add(tx, account.id, ["192.0.2.128/25"], caller=None, confirmed=True, by=BY)
        notices.tell(tx, account.id, notices.Kind.KEY_HELD, "x", "more", at_ms=NOW_MS)
        mate = a_teammate(tx, account, f"{account.name}-more")
        teammates.ask(tx, account, mate, "Stats", by=BY)
        an_invitation(tx, account, f"more@{account.name}.example")


async def test_mail_from_a_foreign_domain_is_as_from_one_that_nobody_has(door: ApiDoor, town: Town) -> None:
    place = ("POST", "/v3/mail/send")

    async def send(who: Tenant, name: str) -> tuple[int, bytes]:
        status, body = await ask(door, place, who.key, json=MAIL | {"from": {"email": f"ann@{name}.example"}})
        # The name is the client's own word.
        return status, body.replace(name.encode(), b"*")

    for who, whose in town.foreign:
        unknown = await send(who, "nobody")
        assert await send(who, whose.name) == unknown
        assert unknown[0] == 403
    assert not door.mails.rows
    assert (await send(town.a, town.a.name))[0] == 202


async def test_a_new_subuser_may_not_take_a_name_that_is_taken_nor_learn_whose_it_is(door: ApiDoor, town: Town) -> None:
    place = ("POST", "/v3/subusers")
    body = arguments(place)["json"]
    before = everything(door.control)
    own, foreign, account = [
        await ask(door, place, town.parent.key, json=body | {"username": one.name})
        for one in (town.b, town.others_subuser, town.other)
    ]
    assert own == foreign == account
    assert own[0] == 400
    assert everything(door.control) == before

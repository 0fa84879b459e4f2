"""Every scope at every route: who lacks it is told 403 before anything is looked at, and nothing happens."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.accounts import Account
from sekisho.apikeys.actions import Issued
from sekisho.apikeys.scopes import BILLING, FULL_ACCESS
from sekisho.doors.api.routes import ROUTES
from tests.fakes.api import ApiDoor
from tests.fakes.control import a_key, an_account
from tests.fakes.databases import Engine
from tests.unit.doors.api.examples import SCOPED, everything, fill

# What is decided here does not depend on the engine.
pytestmark = pytest.mark.parametrize("engine", [Engine.SQLITE])

FORBIDDEN: Final = {"errors": [{"message": "access forbidden", "field": None, "help": None}]}
NEEDED: Final = sorted(set(SCOPED.values()))


def with_scopes(door: ApiDoor, owner: Account, scopes: Collection[str]) -> Issued:
    with door.control.begin() as tx:
        return a_key(tx, owner, scopes=frozenset(scopes))


@pytest.fixture
def acme(door: ApiDoor) -> Account:
    with door.control.begin() as tx:
        return an_account(tx)


async def knock(door: ApiDoor, place: tuple[str, str], key: Issued) -> httpx.Response:
    """Call a route with a body that no route takes: what is said of it is said before it is read."""
    door.clock.go(60)  # no rate limits here
    method, path = place
    return await door.ask(method, fill(path), key, content=b"\0{", headers={"content-type": "application/x-nonsense"})


async def judge(door: ApiDoor, owner: Account, scopes: frozenset[str]) -> None:
    """Knock everywhere with a key of these scopes."""
    key = with_scopes(door, owner, scopes)
    before = everything(door.control)
    wrong = []
    for place, scope in SCOPED.items():
        answer = await knock(door, place, key)
        is_let_in = answer.status_code != 403
        if is_let_in is not (scope in scopes) or answer.status_code >= 500:
            wrong.append((place, scope, answer.status_code))
        if not is_let_in:
            assert answer.json() == FORBIDDEN
    assert wrong == []
    assert everything(door.control) == before
    assert not door.mails.rows


@pytest.mark.parametrize("scope", NEEDED)
async def test_one_scope_opens_its_routes_and_no_other(door: ApiDoor, acme: Account, scope: str) -> None:
    await judge(door, acme, frozenset((scope,)))


@pytest.mark.parametrize("scopes", [FULL_ACCESS.difference(NEEDED), BILLING], ids=["all others", "billing"])
async def test_scopes_of_nothing_here_open_nothing(door: ApiDoor, acme: Account, scopes: frozenset[str]) -> None:
    await judge(door, acme, scopes)


async def test_any_set_of_scopes_opens_exactly_its_routes(door: ApiDoor, acme: Account) -> None:
    @settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(st.sets(st.sampled_from(NEEDED), min_size=2))
    def choose(scopes: set[str]) -> None:
        drawn.append(frozenset(scopes))

    drawn: list[frozenset[str]] = []
    choose()
    for scopes in drawn:
        await judge(door, acme, scopes)


async def test_without_a_key_that_is_in_force_nothing_opens(door: ApiDoor, acme: Account) -> None:
    text = with_scopes(door, acme, FULL_ACCESS).text.reveal().decode()
    before = everything(door.control)
    other = "A" if text[-2] != "A" else "B"
    fakes = [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {text[:-2]}{other}{text[-1]}",
        f"Bearer {text} {text}",
        f"Token {text}",
        text,
    ]
    for method, path in (place for place, route in ROUTES.items() if not route.public):
        for field in fakes:
            door.clock.go(60)
            answer = await door.ask(method, fill(path), headers={"authorization": field})
            assert answer.status_code == 401, field
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert everything(door.control) == before

"""Lists of addresses as the verifier applies them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address

import pytest
import sqlalchemy as sa

from sekisho import ipaccess
from sekisho.accounts import Account
from sekisho.db import Database
from sekisho.identity import Identity, IPAddress
from sekisho.ipaccess.tables import access_rule
from sekisho.refusal import Reason, Refused
from tests.fakes.control import BY
from tests.fakes.threads import HeldThreads, NoThreads
from tests.unit.apikeys.test_verifier import BAD_KEY, ENDED, Scene, wrong

NOT_FROM_HERE = Refused(Reason.AUTH_ADDRESS)
HERE, AWAY = "192.0.2.7", "203.0.113.9"


@pytest.fixture
def scene(control: Database) -> Scene:
    return Scene(control, NoThreads())


def adding(owner: Account, *entries: str) -> Callable[[sa.Connection], object]:
    return lambda tx: ipaccess.add(tx, owner.id, entries, caller=None, confirmed=True, by=BY)


async def test_a_list_binds_the_keys_of_its_owner_alone(scene: Scene) -> None:
    accounts, subusers = scene.key(), scene.key(scene.shop)
    scene.write(adding(scene.acme, HERE))
    scene.hear()
    assert isinstance(await scene.login(accounts.text, HERE), Identity)
    assert isinstance(await scene.login(accounts.text, f"::ffff:{HERE}"), Identity)
    assert await scene.login(accounts.text, AWAY) == NOT_FROM_HERE
    assert isinstance(await scene.login(subusers.text, AWAY), Identity)


async def test_a_wrong_key_is_wrong_from_everywhere(scene: Scene) -> None:
    issued = scene.key()
    scene.write(adding(scene.acme, HERE))
    scene.hear()
    assert await scene.login(wrong(issued.text), AWAY) == BAD_KEY
    assert await scene.login(wrong(issued.text), HERE) == BAD_KEY


@pytest.mark.parametrize("whose", ["account", "subuser"])
async def test_a_change_ends_what_was_let_in_by_the_list_before(scene: Scene, whose: str) -> None:
    accounts, subusers = scene.key(), scene.key(scene.shop)
    before = {"account": await scene.identity(accounts.text), "subuser": await scene.identity(subusers.text)}
    scene.write(adding(scene.acme if whose == "account" else scene.shop, AWAY))
    scene.hear()
    other = "subuser" if whose == "account" else "account"
    assert scene.admits(before[whose]) == ENDED
    assert scene.admits(before[other]) is None
    assert await scene.login((accounts if whose == "account" else subusers).text, HERE) == NOT_FROM_HERE


async def test_a_read_that_a_change_overtakes_counts_for_nothing(control: Database) -> None:
    slow = Scene(control, HeldThreads())
    assert isinstance(slow.threads, HeldThreads)
    issued = slow.key()
    login = asyncio.create_task(slow.login(issued.text, HERE))
    for _ in range(3):
        await asyncio.sleep(0)
    slow.threads.run()  # it has read the open list …
    slow.write(adding(slow.acme, AWAY))
    slow.hear()  # … and this comes before its result
    slow.threads.finish()
    for _ in range(5):
        await asyncio.sleep(0)
    slow.threads.run()
    slow.threads.finish()
    assert await login == NOT_FROM_HERE


async def test_a_row_that_cannot_be_read_lets_nobody_in(scene: Scene) -> None:
    issued = scene.key()
    scene.write(adding(scene.acme, HERE))
    scene.write(lambda tx: tx.execute(sa.update(access_rule).values(network="everything")))
    scene.hear()
    with pytest.raises(ValueError, match="everything"):
        await scene.login(issued.text, HERE)


async def test_each_use_of_a_key_in_force_is_told(scene: Scene) -> None:
    heard: list[tuple[str, IPAddress, bool]] = []
    scene.verifier._on_attempt = lambda identity, address, allowed: heard.append(  # type: ignore[misc]
        (identity.key_id, address, allowed)
    )
    issued = scene.key()
    scene.write(adding(scene.acme, HERE))
    scene.hear()
    for text, address in ((issued.text, HERE), (issued.text, AWAY), (wrong(issued.text), AWAY)):
        await scene.login(text, address)
    assert heard == [(issued.key.id, ip_address(HERE), True), (issued.key.id, ip_address(AWAY), False)]

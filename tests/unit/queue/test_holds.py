from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import structlog.testing

from sekisho import accounts
from sekisho.apikeys.actions import revoke
from sekisho.changes import Change, ChangeKind
from sekisho.db import Database
from sekisho.policy.closing import delete_subuser
from sekisho.queue import holds as holding
from sekisho.queue.holds import Holds
from sekisho.queue.spool import HeldSenders
from tests.fakes.control import BY, RELAY, a_key, a_subuser, an_account, changes_in
from tests.fakes.databases import out_of_reach
from tests.fakes.threads import NoThreads


@pytest.fixture
def database(control: Database) -> Database:
    return control


@contextlib.asynccontextmanager
async def running(holds: Holds) -> AsyncIterator[Holds]:
    task = asyncio.create_task(holds.run())
    try:
        async with asyncio.timeout(10):
            await holds.loaded()
        yield holds
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _turn() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_waits_and_who_is_dropped(database: Database) -> None:
    with database.begin() as tx:
        acme, other = an_account(tx, "acme"), an_account(tx, "other")
        shop, gone, off = (a_subuser(tx, owner, name) for owner, name in ((acme, "a"), (other, "b"), (other, "c")))
        bad, revoked = a_key(tx, other).key.id, a_key(tx, other).key.id
        accounts.disable(tx, acme, by=BY)
        accounts.disable(tx, off, by=BY)
        delete_subuser(tx, gone, relay=RELAY, by=BY)
        revoke(tx, bad, compromised=True, by=BY)
        revoke(tx, revoked, compromised=False, by=BY)
    async with running(Holds(database, threads=NoThreads())) as holds:
        assert holds.current() == HeldSenders(frozenset({acme.id, shop.id, off.id}), frozenset({bad}))
        assert holds.deleted() == {gone.id}


async def test_changes_are_followed_and_told_when_they_matter(database: Database) -> None:
    told: list[HeldSenders] = []
    with database.begin() as tx:
        acme = an_account(tx)
    threads = NoThreads()
    holds = Holds(database, threads=threads, on_change=lambda: told.append(holds.current()))
    async with running(holds):
        assert told == []
        seen = len(changes_in(database))

        async def hear() -> None:
            nonlocal seen
            changes = changes_in(database)
            holds.apply(changes[seen:])
            seen = len(changes)
            await _turn()

        with database.begin() as tx:
            disabled = accounts.disable(tx, acme, by=BY)
        await hear()
        assert [held.senders for held in told] == [{acme.id}]
        assert holds.current() is told[-1]
        with database.begin() as tx:
            a_subuser(tx, an_account(tx, "other"))
        await hear()
        assert len(told) == 1  # read again, and nothing is different
        reads = threads.submitted
        holds.apply([Change(1, ChangeKind.DOMAIN_CHANGED, 1, "x"), Change(2, ChangeKind.KEY_CREATED, 1, "x")])
        await _turn()
        assert threads.submitted == reads
        with database.begin() as tx:
            accounts.enable(tx, disabled, by=BY)
        await hear()
        assert told[-1] == HeldSenders()
        holds.apply([Change(0, ChangeKind.RESYNC, None, "")])
        await _turn()
        assert threads.submitted == reads + 2


async def test_a_hold_is_not_let_go_of_for_want_of_knowledge(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "RETRY_S", 0)
    with database.begin() as tx:
        acme = accounts.disable(tx, an_account(tx), by=BY)
    async with running(Holds(database, threads=NoThreads())) as holds:
        before = holds.current()
        with structlog.testing.capture_logs() as logged, out_of_reach(database):
            holds.apply([Change(0, ChangeKind.RESYNC, None, "")])
            await _turn()
        assert holds.current() is before
        assert {line["event"] for line in logged} == {"holds.unreadable"}
        with database.begin() as tx:
            accounts.enable(tx, acme, by=BY)
        await _turn()
        assert holds.current() == HeldSenders()

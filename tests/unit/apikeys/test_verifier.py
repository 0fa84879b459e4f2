from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import pytest
import sqlalchemy as sa

from sekisho import accounts
from sekisho.accounts import Account
from sekisho.apikeys import verifier as verifying
from sekisho.apikeys.actions import Issued, Wish, import_text, revoke
from sekisho.apikeys.verifier import Verifier
from sekisho.changes import Change, ChangeKind
from sekisho.credits import Credits, Reset
from sekisho.db import Database
from sekisho.identity import Identity, KeyPolicy
from sekisho.policy.closing import delete_subuser
from sekisho.refusal import Reason, Refused
from sekisho.secret import Secret
from tests.fakes.clock import FakeClock
from tests.fakes.control import BY, RELAY, a_key, a_subuser, an_account, changes_in
from tests.fakes.databases import out_of_reach
from tests.fakes.threads import HeldThreads, NoThreads

HERE = ip_address("192.0.2.7")
BAD_KEY = Refused(Reason.AUTH_BAD_KEY)
DISABLED = Refused(Reason.AUTH_DISABLED)
ENDED = Refused(Reason.AUTH_ENDED)
UNAVAILABLE = Refused(Reason.AUTH_UNAVAILABLE)
NO_LIMITS = KeyPolicy()
RESYNC = Change(0, ChangeKind.RESYNC, None, "")


@dataclass
class Scene:
    """A verifier over a real database, whose feed is read when the test says so."""

    database: Database
    threads: NoThreads | HeldThreads
    clock: FakeClock = field(default_factory=FakeClock)
    feed_age_s: float = 0.0
    told: int = 0

    def __post_init__(self) -> None:
        self.verifier = Verifier(
            self.database, threads=self.threads, clock=self.clock, feed_age_s=lambda: self.feed_age_s, deadline_s=60.0
        )
        with self.database.begin() as tx:
            self.acme = an_account(tx)
            self.shop = a_subuser(tx, self.acme)
        self.hear()

    def write(self, change: Callable[[sa.Connection], object]) -> None:
        with self.database.begin() as tx:
            change(tx)

    def key(self, owner: Account | None = None, policy: KeyPolicy = NO_LIMITS) -> Issued:
        with self.database.begin() as tx:
            return a_key(tx, owner or self.acme, policy)

    def hear(self) -> None:
        changes = changes_in(self.database)
        self.verifier.apply(changes[self.told :])
        self.told = len(changes)

    async def login(self, text: Secret[bytes], address: str = "192.0.2.7") -> Identity | Refused:
        return await self.verifier.authenticate(text, ip_address(address))

    async def identity(self, text: Secret[bytes]) -> Identity:
        found = await self.login(text)
        assert isinstance(found, Identity), found
        return found

    def admits(self, identity: Identity) -> Refused | None:
        return self.verifier.admits(identity, self.clock.now_ms())


@pytest.fixture
def scene(control: Database) -> Scene:
    return Scene(control, NoThreads())


@pytest.fixture
def slow(control: Database) -> Scene:
    return Scene(control, HeldThreads())


def wrong(text: Secret[bytes]) -> Secret[bytes]:
    whole = text.reveal()
    return Secret(whole[:-1] + (b"A" if whole[-1:] != b"A" else b"B"))


async def test_a_key_is_its_owner_with_its_limits(scene: Scene) -> None:
    issued = scene.key(scene.shop, KeyPolicy(daily=9))
    identity = await scene.identity(issued.text)
    assert (identity.account_id, identity.subuser_id, identity.key_id) == (scene.acme.id, scene.shop.id, issued.key.id)
    assert identity.policy == KeyPolicy(daily=9)
    assert "mail.send" in identity.scopes
    assert "subusers.read" not in identity.scopes
    assert scene.admits(identity) is None


async def test_the_second_login_reads_nothing_and_is_the_same_identity(scene: Scene) -> None:
    issued = scene.key()
    assert await scene.identity(issued.text) is await scene.identity(issued.text)
    assert scene.threads.submitted == 1


@pytest.mark.parametrize("spoil", ["secret", "id", "form", "empty", "long"])
async def test_unknown_wrong_and_malformed_get_one_answer(scene: Scene, spoil: str) -> None:
    text = scene.key().text
    whole = text.reveal()
    presented = {
        "secret": wrong(text),
        "id": Secret(whole[:3] + b"A" * 22 + whole[25:]),
        "form": Secret(b"password"),
        "empty": Secret(b""),
        "long": Secret(whole * 100),
    }[spoil]
    assert await scene.login(presented) == BAD_KEY
    assert await scene.login(text) != BAD_KEY


async def test_unknown_and_wrong_take_the_same_path(scene: Scene) -> None:
    text = scene.key().text
    whole = text.reveal()
    # Even with the right key in the cache: its id alone must not shorten the way.
    await scene.login(text)
    for presented in (wrong(text), Secret(whole[:3] + b"A" * 22 + whole[25:])):
        before = scene.threads.submitted
        assert await scene.login(presented) == BAD_KEY
        assert scene.threads.submitted == before + 1
        assert await scene.login(presented) == BAD_KEY
        assert scene.threads.submitted == before + 1


async def test_an_unknown_key_is_looked_up_again_after_a_minute(scene: Scene) -> None:
    presented = wrong(scene.key().text)
    await scene.login(presented)
    scene.clock.go(59)
    await scene.login(presented)
    assert scene.threads.submitted == 1
    scene.clock.go(2)
    assert await scene.login(presented) == BAD_KEY
    assert scene.threads.submitted == 2


async def test_a_key_imported_after_a_failed_login_works_as_soon_as_that_is_heard(scene: Scene) -> None:
    text = Secret(b"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")
    assert await scene.login(text) == BAD_KEY
    scene.write(lambda tx: import_text(tx, scene.acme, Wish("n", KeyPolicy()), text, by=BY))
    scene.hear()
    assert isinstance(await scene.login(text), Identity)


async def test_a_revoked_key_ends_logins_and_open_sessions_and_no_others(scene: Scene) -> None:
    issued, other = scene.key(), scene.key()
    identity, kept = await scene.identity(issued.text), await scene.identity(other.text)
    scene.write(lambda tx: revoke(tx, issued.key.id, compromised=False, by=BY))
    assert scene.admits(identity) is None  # not yet heard
    scene.hear()
    assert scene.admits(identity) == ENDED
    assert await scene.login(issued.text) == BAD_KEY
    assert scene.admits(identity) == ENDED
    assert scene.admits(kept) is None


@pytest.mark.parametrize("whom", ["account", "subuser"])
async def test_who_is_disabled_is_refused_by_its_own_answer_and_let_in_again_after(scene: Scene, whom: str) -> None:
    issued, other = scene.key(scene.shop), scene.key()
    identity, parents = await scene.identity(issued.text), await scene.identity(other.text)
    tenant = scene.acme if whom == "account" else scene.shop
    scene.write(lambda tx: accounts.disable(tx, tenant, by=BY))
    scene.hear()
    assert scene.admits(identity) == ENDED
    assert await scene.login(issued.text) == DISABLED
    assert await scene.login(wrong(issued.text)) == BAD_KEY  # who does not have the key learns nothing
    assert scene.admits(parents) == (ENDED if whom == "account" else None)
    scene.write(lambda tx: accounts.enable(tx, _again(tx, tenant.name), by=BY))
    scene.hear()
    again = await scene.identity(issued.text)
    assert scene.admits(again) is None
    # The session from before was told to go, and an enable does not call it back.
    assert scene.admits(identity) == ENDED


def _again(tx: sa.Connection, name: str) -> Account:
    found = accounts.find_account(tx, name) or accounts.find_subuser(tx, name)
    assert found is not None
    return found


async def test_a_deleted_subusers_key_is_no_key(scene: Scene) -> None:
    issued = scene.key(scene.shop)
    identity = await scene.identity(issued.text)
    scene.write(lambda tx: delete_subuser(tx, scene.shop, relay=RELAY, by=BY))
    scene.hear()
    assert scene.admits(identity) == ENDED
    assert await scene.login(issued.text) == BAD_KEY


async def test_hearing_of_a_key_after_its_first_login_does_not_end_the_session(scene: Scene) -> None:
    scene.write(lambda tx: a_subuser(tx, scene.acme, "new"))
    with scene.database.connect() as tx:
        new = _again(tx, "new")
    issued = scene.key(new)
    identity = await scene.identity(issued.text)
    scene.hear()
    assert scene.admits(identity) is None
    scene.write(lambda tx: accounts.disable(tx, new, by=BY))
    scene.hear()
    assert scene.admits(identity) == ENDED


async def test_a_new_subuser_disturbs_nobody(scene: Scene) -> None:
    identity = await scene.identity(scene.key().text)
    scene.write(lambda tx: a_subuser(tx, scene.acme, "new"))
    scene.key()
    scene.hear()
    assert scene.admits(identity) is None
    assert scene.threads.submitted == 1


async def test_a_grant_binds_its_account_and_all_subusers_beside_their_own(scene: Scene) -> None:
    first = Credits(scene.acme.id, 200, Reset.DAILY, 1)
    own = Credits(scene.shop.id, 50, None, 2)
    scene.write(lambda tx: accounts.grant_credits(tx, scene.acme, first, by=BY))
    keys = scene.key(), scene.key(scene.shop)
    assert [(await scene.identity(key.text)).credits for key in keys] == [(first,), (first,)]
    scene.write(lambda tx: accounts.grant_credits(tx, scene.shop, own, by=BY))
    scene.hear()
    assert [(await scene.identity(key.text)).credits for key in keys] == [(first,), (own, first)]
    scene.write(lambda tx: accounts.grant_credits(tx, scene.acme, None, by=BY))
    scene.hear()
    assert [(await scene.identity(key.text)).credits for key in keys] == [(), (own,)]


async def test_an_expiry_ends_logins_and_sessions_by_itself(scene: Scene) -> None:
    issued = scene.key(policy=KeyPolicy(expires_ms=scene.clock.now_ms() + 1000))
    identity = await scene.identity(issued.text)
    scene.clock.go(0.999)
    assert scene.admits(identity) is None
    scene.clock.go(0.001)
    assert scene.admits(identity) == ENDED
    assert await scene.login(issued.text) == BAD_KEY


@pytest.mark.parametrize(
    ("address", "let_in"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("192.0.3.7", False),
        ("2001:db8::7", True),
        ("2001:db9::7", False),
        ("::192.0.2.7", False),
    ],
)
async def test_addresses_of_the_policy(scene: Scene, address: str, let_in: bool) -> None:
    issued = scene.key(policy=KeyPolicy(ips=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))))
    answer = await scene.login(issued.text, address)
    assert isinstance(answer, Identity) if let_in else answer == Refused(Reason.AUTH_ADDRESS)
    assert await scene.login(wrong(issued.text), address) == BAD_KEY


async def test_stale_knowledge_is_no_ground_to_let_anybody_in(scene: Scene) -> None:
    issued = scene.key()
    identity = await scene.identity(issued.text)
    scene.feed_age_s = 5.1
    assert await scene.login(issued.text) == UNAVAILABLE
    assert scene.admits(identity) == UNAVAILABLE
    scene.feed_age_s = 0.2
    assert await scene.login(issued.text) is identity
    assert scene.admits(identity) is None


async def test_a_resync_empties_everything(scene: Scene) -> None:
    issued = scene.key()
    identity = await scene.identity(issued.text)
    presented = wrong(issued.text)
    await scene.login(presented)
    scene.verifier.apply([RESYNC])
    assert scene.admits(identity) == ENDED
    assert await scene.login(presented) == BAD_KEY
    assert isinstance(await scene.login(issued.text), Identity)
    assert scene.threads.submitted == 4


async def test_a_database_that_cannot_be_read_lets_nobody_in(scene: Scene) -> None:
    issued, other = scene.key(), scene.key()
    identity = await scene.identity(issued.text)
    with out_of_reach(scene.database):
        assert await scene.login(other.text) == UNAVAILABLE
        assert await scene.login(issued.text) is identity
    assert isinstance(await scene.login(other.text), Identity)


async def test_a_row_that_is_not_understood_is_a_fault_and_no_pass(scene: Scene) -> None:
    issued = scene.key()
    scene.write(lambda tx: tx.exec_driver_sql("UPDATE api_key SET policy = '{\"hours\": 3}'"))
    with pytest.raises(ValueError, match="hours"):
        await scene.login(issued.text)


async def test_the_caches_are_bounded_and_what_is_in_use_stays(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "PASSES_MAX", 3)
    monkeypatch.setattr(verifying, "UNKNOWN_MAX", 3)
    first, *others = (scene.key() for _ in range(6))
    identity = await scene.identity(first.text)
    for issued in others:
        await scene.login(issued.text)
        await scene.login(wrong(issued.text))
        assert scene.admits(identity) is None
    assert len(scene.verifier._passes) == len(scene.verifier._by_key) == 3
    assert len(scene.verifier._unknown) == 3


# Races: between the read and its result.


async def _turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _held(scene: Scene) -> HeldThreads:
    assert isinstance(scene.threads, HeldThreads)
    return scene.threads


@pytest.mark.parametrize("change", ["revoke", "disable account", "disable subuser", "resync"])
async def test_a_slow_read_does_not_bring_back_what_was_ended_meanwhile(slow: Scene, change: str) -> None:
    threads = _held(slow)
    issued = slow.key(slow.shop)
    slow.hear()
    login = asyncio.create_task(slow.login(issued.text))
    await _turn()
    threads.run()  # reads the key as good
    match change:
        case "revoke":
            slow.write(lambda tx: revoke(tx, issued.key.id, compromised=False, by=BY))
        case "disable account":
            slow.write(lambda tx: accounts.disable(tx, slow.acme, by=BY))
        case "disable subuser":
            slow.write(lambda tx: accounts.disable(tx, slow.shop, by=BY))
        case "resync":
            slow.write(lambda tx: revoke(tx, issued.key.id, compromised=False, by=BY))
            slow.verifier.apply([RESYNC])
    slow.hear()
    threads.finish()
    await _turn()
    assert not login.done()  # it reads again
    threads.run()
    threads.finish()
    assert await login == (DISABLED if change.startswith("disable") else BAD_KEY)


async def test_a_change_between_the_result_and_the_waiters_turn_counts(slow: Scene) -> None:
    threads = _held(slow)
    issued = slow.key()
    slow.hear()
    login = asyncio.create_task(slow.login(issued.text))
    await _turn()
    threads.run()
    threads.finish()
    slow.write(lambda tx: revoke(tx, issued.key.id, compromised=False, by=BY))
    # On the loop right behind the result, in front of the waiter.
    asyncio.get_running_loop().call_soon(slow.hear)
    await _turn()
    while not login.done():
        threads.run()
        threads.finish()
        await _turn()
    assert login.result() == BAD_KEY


async def test_a_slow_read_of_an_unknown_key_does_not_hide_its_import(slow: Scene) -> None:
    threads = _held(slow)
    text = Secret(b"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")
    login = asyncio.create_task(slow.login(text))
    await _turn()
    threads.run()
    slow.write(lambda tx: import_text(tx, slow.acme, Wish("n", KeyPolicy()), text, by=BY))
    slow.hear()
    threads.finish()
    await _turn()
    threads.run()
    threads.finish()
    assert isinstance(await login, Identity)


async def test_other_changes_do_not_disturb_a_read(slow: Scene) -> None:
    threads = _held(slow)
    issued = slow.key()
    slow.hear()
    login = asyncio.create_task(slow.login(issued.text))
    await _turn()
    threads.run()
    slow.verifier.apply([Change(1, ChangeKind.KEY_REVOKED, 1, "A" * 22), Change(2, ChangeKind.DOMAIN_CHANGED, 1, "x")])
    threads.finish()
    assert isinstance(await login, Identity)
    assert threads.submitted == 1


async def test_one_read_serves_all_who_wait_for_it(slow: Scene) -> None:
    threads = _held(slow)
    issued = slow.key()
    logins = [asyncio.create_task(slow.login(issued.text)) for _ in range(20)]
    await _turn()
    logins[0].cancel()  # one hangs up; the others still wait
    await _turn()
    threads.run()
    threads.finish()
    found = await asyncio.gather(*logins[1:])
    assert len({id(identity) for identity in found}) == 1
    assert threads.submitted == 1


async def test_a_database_that_does_not_answer_in_time_is_unavailable_and_its_late_answer_is_used(slow: Scene) -> None:
    threads = _held(slow)
    issued = slow.key()
    slow.verifier._deadline_s = 0.01  # type: ignore[misc]
    assert await slow.login(issued.text) == UNAVAILABLE
    threads.run()
    threads.finish()
    await _turn()
    assert isinstance(await slow.login(issued.text), Identity)
    assert threads.submitted == 1


async def test_reads_under_way_are_bounded(slow: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "LOOKUPS_MAX", 2)
    threads = _held(slow)
    keys = [slow.key() for _ in range(3)]
    logins = [asyncio.create_task(slow.login(issued.text)) for issued in keys]
    await _turn()
    assert logins[2].result() == UNAVAILABLE
    for _ in range(2):
        threads.run()
        threads.finish()
    assert all(isinstance(identity, Identity) for identity in await asyncio.gather(*logins[:2]))


async def test_who_comes_in_the_very_turn_that_a_read_ends_in_waits_for_the_cache(slow: Scene) -> None:
    # The read's future is done one turn before its result is in the cache: whoever looked in between spun for ever.
    issued = slow.key()
    logins = [asyncio.create_task(slow.login(issued.text))]
    await _turn()
    _held(slow).run()
    _held(slow).finish()
    while not logins[0].done():
        logins.append(asyncio.create_task(slow.login(issued.text)))
        await asyncio.sleep(0)

    assert len(logins) > 2
    assert len({id(identity) for identity in await asyncio.gather(*logins)}) == 1

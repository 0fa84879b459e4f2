from __future__ import annotations

import asyncio

import pytest

from sekisho.changes import Change, ChangeKind
from sekisho.db import Database, DatabaseUnavailable
from sekisho.domains import Domain, Relay, SenderDomains, SigningDomain
from sekisho.domains import lookup as looking
from sekisho.domains.actions import assign, override, record_check, remove
from sekisho.domains.verify import Sight
from sekisho.policy.closing import delete_subuser
from sekisho.sealing import MasterKey, Sealer
from sekisho.secret import Secret
from tests.fakes.control import BY, RELAY, SEALER, a_domain, a_subuser, an_account, changes_in, sights
from tests.fakes.threads import HeldThreads, NoThreads

RESYNC = Change(0, ChangeKind.RESYNC, None, "")


class Scene:
    """Two accounts, one with two subusers; a domain of the account, one of a subuser, one of the other account."""

    def __init__(self, database: Database, threads: NoThreads | HeldThreads, sealer: Sealer = SEALER) -> None:
        self.database, self.threads = database, threads
        self.domains = SenderDomains(database, threads=threads, sealer=sealer, relay=RELAY, deadline_s=60.0)
        with database.begin() as tx:
            self.acme, self.other = an_account(tx, "acme"), an_account(tx, "other")
            self.shop, self.plain = a_subuser(tx, self.acme, "shop"), a_subuser(tx, self.acme, "plain")
            self.claim = a_domain(tx, self.acme, "acme.example")
            self.own = a_domain(tx, self.shop, "shop.example")
            self.theirs = a_domain(tx, self.other, "other.example")
            for claim in (self.claim, self.own, self.theirs):
                override(tx, claim, relay=RELAY, by=BY)
        self.told = 0
        self.hear()

    def hear(self) -> None:
        changes = changes_in(self.database)
        self.domains.apply(changes[self.told :])
        self.told = len(changes)

    async def ask(self, domain: str, *, who: str = "acme") -> SigningDomain | None:
        match who:
            case "acme" | "other":
                return await self.domains.lookup(getattr(self, who).id, None, domain)
            case _:
                return await self.domains.lookup(self.acme.id, getattr(self, who).id, domain)

    def check(self, claim: Domain, **but: Sight) -> None:
        with self.database.begin() as tx:
            record_check(tx, claim.id, sights(claim, but=but), relay=RELAY, by=BY)


@pytest.fixture
def scene(control: Database) -> Scene:
    return Scene(control, NoThreads())


@pytest.fixture
def slow(control: Database) -> Scene:
    return Scene(control, HeldThreads())


@pytest.mark.parametrize(
    ("who", "domain", "may"),
    [
        ("acme", "acme.example", True),
        ("acme", "shop.example", False),  # a subuser's own is not its parent's
        ("acme", "other.example", False),
        ("acme", "sub.acme.example", False),
        ("acme", "cme.example", False),
        ("acme", "example", False),
        ("acme", "", False),
        ("acme", "ACME.example", False),  # callers normalise
        ("shop", "shop.example", True),
        ("shop", "acme.example", True),  # assigned
        ("plain", "acme.example", False),  # not assigned
        ("plain", "shop.example", False),
        ("other", "other.example", True),
        ("other", "acme.example", False),
    ],
)
async def test_who_may_use_what(scene: Scene, who: str, domain: str, may: bool) -> None:
    with scene.database.begin() as tx:
        assign(tx, scene.claim, scene.shop, by=BY)
    found = await scene.ask(domain, who=who)
    assert (found is not None) == may
    assert found is None or found.domain == domain


async def test_a_claim_that_is_not_valid_is_nobodys(scene: Scene) -> None:
    with scene.database.begin() as tx:
        a_domain(tx, scene.acme, "new.example")
    assert await scene.ask("new.example") is None


async def test_both_active_keys_sign_rsa_first_and_nothing_shows_them(scene: Scene) -> None:
    found = await scene.ask("acme.example")
    assert found is not None
    selectors = [record.host.split(".")[0] for record in scene.claim.records]
    assert [(signer.algorithm, signer.selector) for signer in found.signers] == [
        ("rsa-sha256", selectors[0]),
        ("ed25519-sha256", selectors[2]),
    ]
    assert "Private" not in repr(found)


@pytest.mark.parametrize(
    ("but", "own_path"),
    [
        ({}, True),
        ({"mail_server": Sight.MISSING}, False),
        ({"subdomain_spf": Sight.DIFFERENT}, False),
        ({"mail_server": Sight.UNKNOWN}, False),
    ],
)
async def test_the_return_path_is_the_domains_own_once_both_records_were_seen(
    scene: Scene, but: dict[str, Sight], own_path: bool
) -> None:
    found = await scene.ask("acme.example")
    assert found is not None
    assert found.return_path_host is None  # an override does not count
    scene.check(scene.claim, **but)
    scene.hear()
    found = await scene.ask("acme.example")
    assert found is not None
    assert found.return_path_host == (scene.claim.return_path if own_path else None)


async def test_a_relay_that_was_renamed_is_not_where_bounces_go(scene: Scene) -> None:
    scene.check(scene.claim)
    renamed = SenderDomains(scene.database, threads=NoThreads(), sealer=SEALER, relay=Relay("new.example.net"))
    found = await renamed.lookup(scene.acme.id, None, "acme.example")
    assert found is not None
    assert found.return_path_host is None


async def test_answers_are_kept_and_are_the_same_object(scene: Scene) -> None:
    assert scene.domains.cached(scene.acme.id, None, "acme.example") is None
    first = await scene.ask("acme.example")
    assert await scene.ask("acme.example") is first
    assert scene.domains.cached(scene.acme.id, None, "acme.example") is first
    assert await scene.ask("nowhere.example") is None
    assert await scene.ask("nowhere.example") is None
    assert scene.threads.submitted == 2


async def test_a_change_is_in_force_when_it_is_heard_and_touches_no_other_domain(scene: Scene) -> None:
    kept = await scene.ask("other.example", who="other")
    assert await scene.ask("acme.example") is not None
    assert await scene.ask("acme.example", who="shop") is None
    with scene.database.begin() as tx:
        assign(tx, scene.claim, scene.shop, by=BY)
    scene.hear()
    assert await scene.ask("acme.example", who="shop") is not None
    with scene.database.begin() as tx:
        remove(tx, scene.claim, by=BY)
    scene.hear()
    assert scene.domains.cached(scene.acme.id, None, "acme.example") is None
    assert await scene.ask("acme.example") is None
    assert await scene.ask("acme.example", who="shop") is None
    assert await scene.ask("other.example", who="other") is kept


async def test_a_deleted_subusers_domain_is_gone(scene: Scene) -> None:
    assert await scene.ask("shop.example", who="shop") is not None
    with scene.database.begin() as tx:
        delete_subuser(tx, scene.shop, relay=RELAY, by=BY)
    scene.hear()
    assert await scene.ask("shop.example", who="shop") is None


async def test_a_resync_empties_everything(scene: Scene) -> None:
    first = await scene.ask("acme.example")
    await scene.ask("nowhere.example")
    scene.domains.apply([RESYNC])
    assert await scene.ask("acme.example") is not first
    await scene.ask("nowhere.example")
    assert scene.threads.submitted == 4


async def test_keys_that_do_not_open_are_no_reason_to_send_unsigned(control: Database) -> None:
    scene = Scene(control, NoThreads(), Sealer([MasterKey(b"else", Secret(b"e" * 32))]))
    with pytest.raises(DatabaseUnavailable, match=r"acme\.example"):
        await scene.ask("acme.example")


async def test_the_caches_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "KNOWN_MAX", 1)
    monkeypatch.setattr(looking, "NONE_MAX", 2)
    for who, domain in (("acme", "acme.example"), ("shop", "shop.example"), ("other", "other.example")):
        assert await scene.ask(domain, who=who) is not None
    for number in range(5):
        await scene.ask(f"n{number}.example")
    assert len(scene.domains._known) == 1
    assert len(scene.domains._none) == 2


async def _turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _held(scene: Scene) -> HeldThreads:
    assert isinstance(scene.threads, HeldThreads)
    return scene.threads


async def test_a_slow_read_does_not_bring_back_what_was_removed_meanwhile(slow: Scene) -> None:
    threads = _held(slow)
    asking = asyncio.create_task(slow.ask("acme.example"))
    await _turn()
    threads.run()
    with slow.database.begin() as tx:
        remove(tx, slow.claim, by=BY)
    slow.hear()
    threads.finish()
    await _turn()
    assert not asking.done()
    threads.run()
    threads.finish()
    assert await asking is None


async def test_a_slow_read_does_not_hide_what_became_valid_meanwhile(slow: Scene) -> None:
    threads = _held(slow)
    asking = asyncio.create_task(slow.ask("acme.example", who="shop"))
    await _turn()
    threads.run()
    with slow.database.begin() as tx:
        assign(tx, slow.claim, slow.shop, by=BY)
    slow.domains.apply([RESYNC])
    threads.finish()
    await _turn()
    threads.run()
    threads.finish()
    assert await asking is not None


async def test_one_read_serves_all_who_wait_and_other_changes_do_not_disturb_it(slow: Scene) -> None:
    threads = _held(slow)
    asking = [asyncio.create_task(slow.ask("acme.example")) for _ in range(20)]
    await _turn()
    asking[0].cancel()
    await _turn()
    threads.run()
    slow.domains.apply([Change(9, ChangeKind.DOMAIN_CHANGED, 1, "other.example")])
    threads.finish()
    assert len({id(found) for found in await asyncio.gather(*asking[1:])}) == 1
    assert threads.submitted == 1


async def test_no_answer_in_time_is_not_a_no(slow: Scene) -> None:
    slow.domains._deadline_s = 0.01  # type: ignore[misc]
    with pytest.raises(DatabaseUnavailable, match="in time"):
        await slow.ask("acme.example")
    threads = _held(slow)
    threads.run()
    threads.finish()
    await _turn()
    assert await slow.ask("acme.example") is not None


async def test_reads_under_way_are_bounded(slow: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "LOOKUPS_MAX", 1)
    first = asyncio.create_task(slow.ask("acme.example"))
    await _turn()
    with pytest.raises(DatabaseUnavailable, match="too many"):
        await slow.ask("nowhere.example")
    _held(slow).run()
    _held(slow).finish()
    assert await first is not None

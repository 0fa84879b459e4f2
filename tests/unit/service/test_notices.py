from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from sekisho import notices
from sekisho.accounts import create_subuser
from sekisho.db import Database
from sekisho.notices import Kind
from sekisho.notices.outgoing import MAILED_WITHIN_MS
from sekisho.refusal import Declined, Reason, Refused
from sekisho.service.notices import KEY_ID, NoticeMailer
from tests.fakes.clock import FakeClock
from tests.fakes.control import BY, NOW_MS, a_domain, an_account
from tests.fakes.ownmail import own_mail, validate
from tests.unit.test_submission import RecordingSpool


@dataclass
class Scene:
    """An operator's account with a domain, a customer with a subuser, and the mailer."""

    database: Database
    threads: ThreadPoolExecutor
    clock: FakeClock = field(default_factory=lambda: FakeClock(at_ms=NOW_MS))
    spool: RecordingSpool = field(default_factory=RecordingSpool)
    sender: str = "alerts@example.com"

    def __post_init__(self) -> None:
        with self.database.begin() as tx:
            self.operator = an_account(tx, "operator")
            self.claim = a_domain(tx, self.operator, "example.com")
            self.acme = an_account(tx)
            made = create_subuser(tx, of="acme", name="shop", email="shop@example.org", by=BY)
            assert not isinstance(made, Declined)
            self.shop = made
        self.validate(valid=True)

    def validate(self, *, valid: bool) -> None:
        validate(self.database, valid=valid)

    def tell(self) -> None:
        with self.database.begin() as tx:
            notices.tell(tx, self.shop.id, Kind.KEY_HELD, "k1", "API key k1 is held: ü.", at_ms=NOW_MS)

    async def step(self) -> int:
        mail = own_mail(
            self.database, threads=self.threads, spool=self.spool, clock=self.clock, sender=lambda: self.sender
        )
        return await NoticeMailer(mail, hostname="relay.test", clock=self.clock).step()

    def mailed(self) -> list[bool]:
        with self.database.connect() as tx:
            found = [*notices.listing(tx, self.acme.id, limit=9), *notices.listing(tx, self.shop.id, limit=9)]
        return [one.mailed_ms is not None for one in found]


@pytest.fixture
def scene(control: Database) -> Iterator[Scene]:
    with ThreadPoolExecutor(1) as threads:
        yield Scene(control, threads)


async def test_each_who_is_told_gets_one_mail_of_the_account_whose_domain_it_comes_from(scene: Scene) -> None:
    scene.tell()
    assert [await scene.step() for _ in range(2)] == [2, 0]
    assert sorted(new.recipients[0].address for new in scene.spool.appended) == [
        "owner@example.com",
        "shop@example.org",
    ]
    for new in scene.spool.appended:
        message = new.message
        assert (message.account_id, message.key_id, message.mail_from) == (
            scene.operator.id,
            KEY_ID,
            "alerts@example.com",
        )
        assert new.caps is None
        assert b"Auto-Submitted: auto-generated\r\n" in message.header
        assert b"Subject: An API key is held (" in message.header
        assert isinstance(message.body, bytes)
        assert b"API key k1 is held" in message.body
    assert scene.mailed() == [True, True]


@pytest.mark.parametrize("sender", ["", "nobody", "alerts@elsewhere.example"])
async def test_without_a_domain_of_its_own_nothing_is_mailed(scene: Scene, sender: str) -> None:
    scene.tell()
    scene.sender = sender
    assert await scene.step() == 0
    assert scene.mailed() == [False, False]


async def test_a_domain_that_comes_back_lets_the_mail_go(scene: Scene) -> None:
    scene.tell()
    scene.validate(valid=False)
    assert await scene.step() == 0
    scene.validate(valid=True)
    assert await scene.step() == 2


async def test_what_is_not_taken_is_tried_again(scene: Scene) -> None:
    scene.tell()
    scene.spool.answer = Refused(Reason.STORAGE_FULL)
    assert await scene.step() == 0
    assert scene.mailed() == [False, False]
    scene.spool.answer = ()
    assert await scene.step() == 2


async def test_old_alarms_are_not_mailed(scene: Scene) -> None:
    scene.tell()
    scene.clock.go(MAILED_WITHIN_MS / 1000)
    assert await scene.step() == 0

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from sekisho import letters
from sekisho.db import Database
from sekisho.letters import Kind
from sekisho.letters.tables import letter
from sekisho.letters.writing import Place
from sekisho.refusal import Reason, Refused
from sekisho.service.letters import KEY_ID, LetterMailer
from tests.fakes.clock import FakeClock
from tests.fakes.control import NOW_MS, a_domain, an_account
from tests.fakes.ownmail import own_mail, validate
from tests.unit.test_submission import RecordingSpool

HOUR_MS = 3_600_000


@dataclass
class Scene:
    """An operator's account with a domain, and the mailer."""

    database: Database
    threads: ThreadPoolExecutor
    clock: FakeClock = field(default_factory=lambda: FakeClock(at_ms=NOW_MS))
    spool: RecordingSpool = field(default_factory=RecordingSpool)

    def __post_init__(self) -> None:
        with self.database.begin() as tx:
            self.operator = an_account(tx, "operator")
            a_domain(tx, self.operator, "example.com")
        self.validate(valid=True)
        mail = own_mail(
            self.database, threads=self.threads, spool=self.spool, clock=self.clock, sender=lambda: "hello@example.com"
        )
        self.mailer = LetterMailer(mail, Place("relay.test", "https://relay.test"), clock=self.clock)

    def validate(self, *, valid: bool) -> None:
        validate(self.database, valid=valid)

    def ask(self, kind: Kind = Kind.SIGNUP, to: str = "new@example.org", language: str = "en") -> None:
        with self.database.begin() as tx:
            letters.ask(tx, kind, to, at_ms=self.clock.now_ms(), language=language)

    def open(self) -> int:
        with self.database.connect() as tx:
            query = sa.select(sa.func.count()).select_from(letter).where(letter.c.done_ms.is_(None))
            return tx.execute(query).scalar_one()


@pytest.fixture
def scene(control: Database) -> Iterator[Scene]:
    with ThreadPoolExecutor(1) as threads:
        yield Scene(control, threads)


@pytest.mark.parametrize("language", ["en", "ja"])
async def test_a_letter_is_sent_once_as_mail_of_the_account_whose_domain_it_comes_from(
    scene: Scene, language: str
) -> None:
    scene.ask(language=language)
    assert [await scene.mailer.step() for _ in range(2)] == [1, 0]
    (new,) = scene.spool.appended
    message = new.message
    assert (message.account_id, message.key_id, message.mail_from) == (scene.operator.id, KEY_ID, "hello@example.com")
    assert [one.address for one in new.recipients] == ["new@example.org"]
    assert new.caps is None
    assert b"Auto-Submitted: auto-generated\r\n" in message.header
    assert b"Content-Type: text/plain" in message.header
    assert b"html" not in message.header.lower()
    assert isinstance(message.body, bytes)
    if language == "en":
        assert b"https://relay.test/signup/" in message.body
    assert scene.open() == 0


async def test_without_a_way_out_letters_wait_and_it_is_said_once(scene: Scene) -> None:
    scene.validate(valid=False)
    scene.ask()
    with capture_logs() as logs:
        assert [await scene.mailer.step() for _ in range(3)] == [0, 0, 0]
    assert [line["event"] for line in logs] == ["letters.not_sent"]
    scene.clock.go(3600)
    scene.validate(valid=True)
    assert await scene.mailer.step() == 1


async def test_a_letter_that_is_not_taken_is_tried_again(scene: Scene) -> None:
    scene.ask()
    scene.spool.answer = Refused(Reason.STORAGE_FULL)
    with capture_logs() as logs:
        assert await scene.mailer.step() == 0
    assert [line["event"] for line in logs] == ["letters.not_sent"]
    scene.spool.answer = ()
    assert await scene.mailer.step() == 0
    scene.clock.go(60)
    assert await scene.mailer.step() == 1


async def test_what_concerns_nobody_is_done_without_a_word(scene: Scene) -> None:
    scene.ask(Kind.RESET, "nobody@example.org")
    with capture_logs() as logs:
        assert await scene.mailer.step() == 0
    assert logs == []
    assert scene.open() == 0
    assert scene.spool.appended == []


async def test_an_address_that_cannot_be_one_is_done_without_a_word(scene: Scene) -> None:
    scene.ask(to="no address")
    assert await scene.mailer.step() == 1
    assert scene.open() == 0
    assert scene.spool.appended == []


async def test_old_rows_are_removed(scene: Scene) -> None:
    scene.ask()
    await scene.mailer.step()
    scene.clock.go(8 * 86_400)
    await scene.mailer.step()
    with scene.database.connect() as tx:
        assert tx.execute(sa.select(letter)).all() == []

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from sekisho import notices
from sekisho.apikeys.actions import Issued, Wish, issue, revoke
from sekisho.apikeys.verifier import Verifier
from sekisho.audit import audit
from sekisho.db import Database, DatabaseUnavailable
from sekisho.leaks import canary
from sekisho.leaks.canary import AGAIN_MS, Canaries
from sekisho.refusal import Declined, Reason, Refused
from sekisho.secret import Secret
from tests.fakes.clock import FakeClock
from tests.fakes.control import BY, NO_LIMITS, a_key, an_account
from tests.fakes.databases import out_of_reach

THIEF = ip_address("203.0.113.9")


@dataclass
class Scene:
    """A canary beside a key, and a door."""

    database: Database
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        with self.database.begin() as tx:
            self.acme = an_account(tx)
            made = issue(tx, self.acme, Wish("in the wiki", NO_LIMITS, canary=True), by=BY)
            assert not isinstance(made, Declined)
            self.canary: Issued = made
            self.key = a_key(tx, self.acme)
        self.canaries = Canaries(self.database, door="SMTP", now_ms=self.clock.now_ms)

    async def present(self, text: bytes, *, times: int = 1) -> list[object]:
        with ThreadPoolExecutor(1) as threads:
            verifier = Verifier(
                self.database,
                threads=threads,
                clock=self.clock,
                feed_age_s=lambda: 0.0,
                on_canary=self.canaries.used,
            )
            return [await verifier.authenticate(Secret(text), THIEF) for _ in range(times)]

    def told(self) -> list[tuple[str, str, int]]:
        with self.database.connect() as tx:
            return [(one.kind, one.subject, one.count) for one in notices.listing(tx, self.acme.id, limit=9)]

    def audited(self) -> list[tuple[str | None, str]]:
        with self.database.connect() as tx:
            rows = tx.execute(sa.select(audit).where(audit.c.action == "key.canary_used").order_by(audit.c.id))
            return [(row.address, row.details) for row in rows]


@pytest.fixture
def scene(control: Database) -> Scene:
    return Scene(control)


async def test_a_canary_is_answered_as_a_wrong_key_and_alarms(scene: Scene) -> None:
    wrong = scene.canary.text.reveal()[:-1] + (b"a" if scene.canary.text.reveal()[-1:] != b"a" else b"b")
    assert await scene.present(scene.canary.text.reveal(), times=3) == [Refused(Reason.AUTH_BAD_KEY)] * 3
    assert await scene.present(wrong) == [Refused(Reason.AUTH_BAD_KEY)]
    with capture_logs() as logs:
        assert scene.canaries.flush() == 1
    assert scene.told() == [("key.canary_used", scene.canary.key.id, 1)]
    assert scene.audited() == [(str(THIEF), '{"attempts":3,"door":"SMTP"}')]
    assert [line for line in logs if line["event"] == "key.canary_used"] == [
        {
            "event": "key.canary_used",
            "log_level": "warning",
            "key": scene.canary.key.id,
            "address": str(THIEF),
            "door": "SMTP",
            "attempts": 3,
        }
    ]


async def test_a_wrong_text_for_a_canarys_id_and_a_revoked_canary_alarm_nobody(scene: Scene) -> None:
    with scene.database.begin() as tx:
        revoke(tx, scene.canary.key.id, compromised=False, by=BY)
    await scene.present(scene.canary.text.reveal())
    await scene.present(scene.canary.text.reveal()[:-2] + b"__")
    assert scene.canaries.flush() == 0


async def test_a_loop_alarms_once_a_minute_with_its_count(scene: Scene) -> None:
    for times in (1, 4):
        await scene.present(scene.canary.text.reveal(), times=times)
        scene.canaries.flush()
        scene.clock.go(1)
    assert len(scene.audited()) == 1
    scene.clock.go(AGAIN_MS / 1000)
    assert scene.canaries.flush() == 1
    assert scene.audited()[1] == (str(THIEF), '{"attempts":4,"door":"SMTP"}')
    assert scene.told() == [("key.canary_used", scene.canary.key.id, 2)]


async def test_an_alarm_that_cannot_be_written_is_kept(scene: Scene) -> None:
    await scene.present(scene.canary.text.reveal())
    with out_of_reach(scene.database), pytest.raises(DatabaseUnavailable):
        scene.canaries.flush()
    await scene.present(scene.canary.text.reveal())
    assert scene.canaries.flush() == 1
    assert scene.audited() == [(str(THIEF), '{"attempts":2,"door":"SMTP"}')]


async def test_what_is_collected_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "COLLECTED_MAX", 2)
    identity = (await scene.present(scene.key.text.reveal()))[0]
    for number in range(5):
        scene.canaries.used(identity, ip_address(f"198.18.0.{number}"))  # type: ignore[arg-type]
    assert scene.canaries.flush(everything=True) == 2


def test_it_says_of_itself_what_it_is(scene: Scene) -> None:
    assert scene.canary.key.state(scene.clock.now_ms()) == "canary"
    assert scene.key.key.state(scene.clock.now_ms()) == "active"

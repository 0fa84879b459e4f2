"""The server's own mail, handed to a spool that only records."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from sekisho.db import Database
from sekisho.domains import SigningDomain
from sekisho.domains.tables import domain
from sekisho.ids import AccountId, DomainId
from sekisho.policy import sending
from sekisho.ports.clock import Clock
from sekisho.service.ownmail import OwnMail
from sekisho.submission import Intake
from tests.unit.test_submission import RecordingSpool


class Domains:
    """Every domain signs."""

    async def lookup(self, account_id: AccountId, subuser_id: AccountId | None, domain: str) -> SigningDomain | None:
        assert account_id
        assert subuser_id is None
        return SigningDomain(DomainId(1), domain, None, ())


def own_mail(
    database: Database, *, threads: Executor, spool: RecordingSpool, clock: Clock, sender: Callable[[], str]
) -> OwnMail:
    intake = Intake(
        spool=spool,
        domains=Domains(),
        body_path=lambda _: Path("x"),
        hostname="relay.test",
        node=1,
        clock=clock,
        recipient=sending.may_mail,
    )
    return OwnMail(database, threads=threads, intake=intake, sender=sender, hostname="relay.test")


def validate(database: Database, *, valid: bool) -> None:
    """Say of every domain whether it is valid."""
    with database.begin() as tx:
        tx.execute(domain.update().values(valid=valid))

"""The server's own mail to people: handed in like all mail, as mail of whoever has the domain of its sender's address.

Without such a domain nothing is mailed, since nothing leaves unsigned.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final, TypeVar

from sqlalchemy import Connection, select

from sekisho.db import Database
from sekisho.domains.tables import domain
from sekisho.identity import Identity, KeyPolicy
from sekisho.ids import AccountId, KeyId
from sekisho.refusal import Refused
from sekisho.submission import Intake, Submission
from sekisho.wire.mail.address import Mailbox, parse_path
from sekisho.wire.mail.compose import Named, Text, address_field, compose, text_field

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Way:
    """How mail of ours leaves now."""

    sender: Mailbox
    identity: Identity


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one person."""

    to: str
    subject: str
    text: str
    at_ms: int


class OwnMail:
    """Hands in the server's own mail; one per process that writes some."""

    def __init__(
        self,
        control: Database,
        *,
        threads: Executor,
        intake: Intake,
        sender: Callable[[], str],
        hostname: str,
    ) -> None:
        """``sender`` is the address that it comes from."""
        self._control: Final = control
        self._threads: Final = threads
        self._intake: Final = intake
        self._sender: Final = sender
        self._hostname: Final = hostname

    async def way(self, key_id: KeyId) -> Way | None:
        """Find how mail leaves; ``key_id`` is shown in place of a key. None: no domain of anybody's carries it."""
        return await self.read(lambda tx: way(tx, self._sender(), key_id))

    async def hand_in(self, mail: Mail, by: Way) -> Refused | None:
        """Hand one in; why it was not taken, None when it was, or when nobody can have that address."""
        to = parse_path(mail.to)
        if to is None:
            return None
        answer = await self._intake.accept(_submission(mail, to, by, self._hostname))
        return answer if isinstance(answer, Refused) else None

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query on control data, in a thread."""

        def run() -> T:
            with self._control.connect() as tx:
                return query(tx)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def write(self, action: Callable[[Connection], T]) -> T:
        """Run one change of control data, in a thread."""

        def run() -> T:
            with self._control.begin() as tx:
                return action(tx)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)


def way(tx: Connection, sender: str, key_id: KeyId) -> Way | None:
    """Find whose domain the sender's address is in; its limits and credits do not bind mail of ours."""
    mailbox = parse_path(sender)
    if mailbox is None:
        return None
    row = tx.execute(select(domain).where(domain.c.name == mailbox.domain, domain.c.valid)).one_or_none()
    if row is None:
        return None
    subuser_id = None if row.subuser_id is None else AccountId(row.subuser_id)
    return Way(mailbox, Identity(AccountId(row.account_id), subuser_id, key_id, frozenset(), KeyPolicy()))


def _submission(mail: Mail, to: Mailbox, by: Way, hostname: str) -> Submission:
    composed = compose([Text("text/plain", mail.text)], [], secrets.token_hex(16))
    fields = [
        address_field(b"From", [Named(by.sender, "Sekisho")]),
        address_field(b"To", [Named(to)]),
        text_field(b"Subject", mail.subject),
        # RFC 3834 §5: no vacation answers to a machine.
        b"Auto-Submitted: auto-generated\r\n",
    ]
    when = format_datetime(datetime.fromtimestamp(mail.at_ms / 1000, UTC))
    return Submission(
        identity=by.identity,
        mail_from=str(by.sender),
        recipients=(str(to),),
        header=b"".join(fields) + composed.fields,
        body=composed.body,
        trace=f"Received: by {hostname} (Sekisho);\r\n\t{when}\r\n".encode("ascii"),
        eight_bit=False,
    )

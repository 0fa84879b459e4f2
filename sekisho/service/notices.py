"""Mail notices to owners, through the relay itself: as mail of the account whose domain the sender's address is in.

Without such a domain nothing is mailed, since nothing leaves unsigned; owners still read their notices through the API.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final, TypeVar

import structlog
from sqlalchemy import Connection, select

from sekisho.db import Database, DatabaseUnavailable
from sekisho.domains.tables import domain
from sekisho.identity import Identity, KeyPolicy
from sekisho.ids import AccountId, KeyId
from sekisho.notices import outgoing
from sekisho.notices.outgoing import Outgoing
from sekisho.ports.clock import Clock
from sekisho.refusal import Refused
from sekisho.submission import Intake, Submission
from sekisho.wire.mail.address import Mailbox, parse_path
from sekisho.wire.mail.compose import Named, Text, address_field, compose, text_field

_log = structlog.get_logger(__name__)

T = TypeVar("T")

EVERY_S: Final = 5.0

KEY_ID: Final = KeyId("notices")
"""What events and the queue show in place of a key; no key can have it."""

_SUBJECTS: Final = {
    "key.canary_used": "A canary key was tried",
    "key.held": "An API key is held",
    "message.held": "A message with an API key in it is held",
}


class NoticeMailer:
    """Hands in what is to be mailed; one per process that has the API."""

    def __init__(
        self,
        control: Database,
        *,
        threads: Executor,
        intake: Intake,
        sender: Callable[[], str],
        hostname: str,
        clock: Clock,
    ) -> None:
        """``sender`` is the address that notices come from."""
        self._control: Final = control
        self._threads: Final = threads
        self._intake: Final = intake
        self._sender: Final = sender
        self._hostname: Final = hostname
        self._clock: Final = clock
        self._complained = False

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            try:
                await self.step()
            except DatabaseUnavailable as error:
                _log.info("notices.unreadable", error=str(error))
            except Exception:  # noqa: BLE001  # this task must outlive anything: the next turn may go well
                _log.exception("notices.fault")
            await asyncio.sleep(EVERY_S)

    async def step(self) -> int:
        """Mail what there is; how many were handed in."""
        sender = parse_path(self._sender())
        identity = None if sender is None else await self._read(lambda tx: _mailing_as(tx, sender.domain))
        if sender is None or identity is None:
            return 0
        now_ms = self._clock.now_ms()
        if not await self._read(lambda tx: outgoing.is_any(tx, now_ms)):
            return 0
        count = 0
        for one in await self._write(lambda tx: outgoing.claim(tx, now_ms)):
            refused = await self._mail(one, sender, identity)
            if refused is None:
                count += 1
                continue
            await self._write(lambda tx, number=one.id: outgoing.give_back(tx, number))  # type: ignore[misc]
            if not self._complained:
                _log.warning("notices.not_mailed", reason=refused.reason.value, detail=refused.detail)
            self._complained = True
        return count

    async def _mail(self, one: Outgoing, sender: Mailbox, identity: Identity) -> Refused | None:
        """Hand one notice in; why it was not taken, None when it was."""
        to = parse_path(one.to)
        if to is None:
            return None  # nobody can be told there
        answer = await self._intake.accept(_submission(one, sender, to, identity, self._hostname))
        return answer if isinstance(answer, Refused) else None

    async def _read(self, query: Callable[[Connection], T]) -> T:
        def run() -> T:
            with self._control.connect() as tx:
                return query(tx)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def _write(self, action: Callable[[Connection], T]) -> T:
        def run() -> T:
            with self._control.begin() as tx:
                return action(tx)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)


def _mailing_as(tx: Connection, name: str) -> Identity | None:
    """Find whose domain that is; its limits and credits do not bind notices."""
    row = tx.execute(select(domain).where(domain.c.name == name, domain.c.valid)).one_or_none()
    if row is None:
        return None
    subuser_id = None if row.subuser_id is None else AccountId(row.subuser_id)
    return Identity(AccountId(row.account_id), subuser_id, KEY_ID, frozenset(), KeyPolicy())


def _submission(one: Outgoing, sender: Mailbox, to: Mailbox, identity: Identity, hostname: str) -> Submission:
    when = datetime.fromtimestamp(one.at_ms / 1000, UTC)
    more = f"\n\nThere are {one.more} more of this kind; GET /v3/notices lists them." if one.more else ""
    text = f"{one.text}{more}\n\nThis is about {one.account} at {hostname}, {when:%Y-%m-%d %H:%M:%S} UTC.\n"
    composed = compose([Text("text/plain", text)], [], secrets.token_hex(16))
    fields = [
        address_field(b"From", [Named(sender, "Sekisho")]),
        address_field(b"To", [Named(to)]),
        text_field(b"Subject", f"{_SUBJECTS.get(one.kind, one.kind)} ({one.account})"),
        # RFC 3834 §5: no vacation answers to a machine.
        b"Auto-Submitted: auto-generated\r\n",
    ]
    trace = f"Received: by {hostname} (Sekisho);\r\n\t{format_datetime(when)}\r\n".encode("ascii")
    return Submission(
        identity=identity,
        mail_from=str(sender),
        recipients=(str(to),),
        header=b"".join(fields) + composed.fields,
        body=composed.body,
        trace=trace,
        eight_bit=False,
    )

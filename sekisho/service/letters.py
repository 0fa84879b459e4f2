"""Write and send the letters that were asked for; without a way out each waits for as long as it is of use."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlalchemy import Connection

from sekisho import links
from sekisho.db import DatabaseUnavailable
from sekisho.ids import KeyId
from sekisho.letters import actions as letters
from sekisho.letters.model import Letter, Written
from sekisho.letters.writing import Place, write
from sekisho.ports.clock import Clock
from sekisho.service.ownmail import Mail, OwnMail, Way

_log = structlog.get_logger(__name__)

EVERY_S: Final = 1.0
"""Somebody waits at the screen for most of them."""

PRUNE_EVERY_MS: Final = 3_600_000

KEY_ID: Final = KeyId("letters")
"""What events and the queue show in place of a key; no key can have it."""


class LetterMailer:
    """Hands in what is to be written; one per process that has the dashboard."""

    def __init__(self, mail: OwnMail, place: Place, *, clock: Clock) -> None:
        self._mail: Final = mail
        self._place: Final = place
        self._clock: Final = clock
        self._pruned_ms = 0
        self._complained = False

    async def run(self) -> None:
        """Look each second, until cancelled."""
        while True:
            try:
                await self.step()
            except DatabaseUnavailable as error:
                _log.info("letters.unreadable", error=str(error))
            except Exception:  # noqa: BLE001  # this task must outlive anything: the next turn may go well
                _log.exception("letters.fault")
            await asyncio.sleep(EVERY_S)

    async def step(self) -> int:
        """Write and hand in what there is; how many were handed in."""
        now_ms = self._clock.now_ms()
        await self._prune(now_ms)
        if not await self._mail.read(lambda tx: letters.is_any(tx, now_ms)):
            return 0
        way = await self._mail.way(KEY_ID)
        if way is None:
            self._complain("no domain of an account carries the address of server.notices_from")
            return 0
        sent = 0
        for one in await self._mail.write(lambda tx: letters.claim(tx, now_ms)):
            sent += await self._send(one, way)
        return sent

    async def _send(self, one: Letter, way: Way) -> bool:
        now_ms = self._clock.now_ms()

        def prepare(tx: Connection) -> Written | None:
            written = write(tx, one, self._place, now_ms=now_ms)
            if written is None:
                letters.finish(tx, one.id, at_ms=now_ms)
            return written

        # The link is made first: one that nobody was sent opens nothing. Who dies before ``finish`` sends it again, and
        # the second letter's link ends the first one's.
        written = await self._mail.write(prepare)
        if written is None:
            return False
        refused = await self._mail.hand_in(Mail(written.to, written.subject, written.text, now_ms), way)
        if refused is not None:
            await self._mail.write(lambda tx: letters.give_back(tx, one, at_ms=now_ms))
            self._complain(f"{refused.reason.value} {refused.detail}".strip())
            return False
        await self._mail.write(lambda tx: letters.finish(tx, one.id, at_ms=now_ms))
        self._complained = False
        return True

    def _complain(self, reason: str) -> None:
        if not self._complained:
            _log.warning("letters.not_sent", reason=reason)
        self._complained = True

    async def _prune(self, now_ms: int) -> None:
        if abs(now_ms - self._pruned_ms) < PRUNE_EVERY_MS:
            return
        self._pruned_ms = now_ms
        removed = await self._mail.write(lambda tx: letters.prune(tx, now_ms) + links.prune(tx, now_ms))
        if removed:
            _log.info("letters.pruned", rows=removed)

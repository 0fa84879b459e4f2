"""Mail notices to owners; those who get no mail still read their notices through the API."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from sekisho.db import DatabaseUnavailable
from sekisho.ids import KeyId
from sekisho.notices import outgoing
from sekisho.notices.outgoing import Outgoing
from sekisho.ports.clock import Clock
from sekisho.service.ownmail import Mail, OwnMail

_log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0

KEY_ID: Final = KeyId("notices")
"""What events and the queue show in place of a key; no key can have it."""

_SUBJECTS: Final = {
    "key.canary_used": "A canary key was tried",
    "key.held": "An API key is held",
    "message.held": "A message with an API key in it is held",
    "teammate.asked": "A teammate asks for more",
    "teammate.removed": "A teammate was removed",
}


class NoticeMailer:
    """Hands in what is to be mailed; one per process that has the API."""

    def __init__(self, mail: OwnMail, *, hostname: str, clock: Clock) -> None:
        self._mail: Final = mail
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
        way = await self._mail.way(KEY_ID)
        if way is None:
            return 0
        now_ms = self._clock.now_ms()
        if not await self._mail.read(lambda tx: outgoing.is_any(tx, now_ms)):
            return 0
        count = 0
        for one in await self._mail.write(lambda tx: outgoing.claim(tx, now_ms)):
            refused = await self._mail.hand_in(_mail(one, self._hostname), way)
            if refused is None:
                count += 1
                continue
            await self._mail.write(lambda tx, number=one.id: outgoing.give_back(tx, number))  # type: ignore[misc]
            if not self._complained:
                _log.warning("notices.not_mailed", reason=refused.reason.value, detail=refused.detail)
            self._complained = True
        return count


def _mail(one: Outgoing, hostname: str) -> Mail:
    when = datetime.fromtimestamp(one.at_ms / 1000, UTC)
    more = f"\n\nThere are {one.more} more of this kind; GET /v3/notices lists them." if one.more else ""
    text = f"{one.text}{more}\n\nThis is about {one.account} at {hostname}, {when:%Y-%m-%d %H:%M:%S} UTC.\n"
    return Mail(one.to, f"{_SUBJECTS.get(one.kind, one.kind)} ({one.account})", text, one.at_ms)

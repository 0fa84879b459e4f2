"""What the SMTP door asks, answered by the facts: the one place where door, policy, intake and delivery meet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from sekisho.apikeys.verifier import Verifier
from sekisho.db import DatabaseUnavailable
from sekisho.identity import Identity, IPAddress
from sekisho.ids import message_id_text
from sekisho.policy import sending
from sekisho.ports.clock import Clock
from sekisho.queue.model import Delivery
from sekisho.refusal import Reason, Refused
from sekisho.secret import Secret
from sekisho.service.crowd import Crowd
from sekisho.submission import Accepted, Intake, Submission
from sekisho.wire.mail.address import Mailbox

_log = structlog.get_logger()

USERNAME: Final = b"apikey"
"""The vendor's literal user name (sheet smtp.md §3). People are never looked up."""


class SmtpGate:
    """Implements ``doors.smtp.session.Gate`` for one relay worker."""

    def __init__(
        self,
        *,
        verifier: Verifier,
        intake: Intake,
        offer: Callable[[Sequence[Delivery]], None],
        rescan: Callable[[], None],
        clock: Clock,
        crowd: Crowd,
        on_refused: Callable[[Reason, IPAddress | None, Identity | None], None] = lambda *_: None,
    ) -> None:
        """``offer`` is handed what was just committed; ``rescan`` makes the scheduler look into the spool.

        ``on_refused`` hears of every no that the verifier does not tell of itself.
        """
        self._verifier: Final = verifier
        self._intake: Final = intake
        self._offer: Final = offer
        self._rescan: Final = rescan
        self._clock: Final = clock
        self._crowd: Final = crowd
        self._on_refused: Final = on_refused

    def recipient(self, identity: Identity, mailbox: Mailbox, already: int) -> Refused | None:
        refused = sending.may_mail(identity, mailbox, already)
        if refused is not None:
            self._on_refused(refused.reason, None, identity)
        return refused

    async def authenticate(self, username: bytes, password: Secret[bytes], address: IPAddress) -> Identity | Refused:
        if username != USERNAME:
            self._on_refused(Reason.AUTH_BAD_USERNAME, address, None)
            return Refused(Reason.AUTH_BAD_USERNAME)
        found = await self._verifier.authenticate(password, address)
        if isinstance(found, Refused):
            return found
        refused = sending.may_send(found)
        if refused is not None:
            self._on_refused(refused.reason, address, found)
        return refused or found

    def admits(self, identity: Identity) -> Refused | None:
        return self._verifier.admits(identity, self._clock.now_ms())

    async def accept(self, submission: Submission) -> Accepted | Refused:
        try:
            with self._crowd:
                answer = await self._intake.accept(submission)
        except DatabaseUnavailable:
            # Who may send as what cannot be known: never accepted on a guess.
            return Refused(Reason.STORAGE_UNAVAILABLE)
        if isinstance(answer, Refused):
            self._on_refused(answer.reason, submission.address, submission.identity)
            return answer
        accepted, deliveries = answer
        if deliveries:
            # The client waits for its 250, and nobody for this: the reply leaves first.
            asyncio.get_running_loop().call_soon(self._hand_over, accepted, deliveries)
        return accepted

    def _hand_over(self, accepted: Accepted, deliveries: Sequence[Delivery]) -> None:
        try:
            self._offer(deliveries)
        except Exception:  # noqa: BLE001
            # Ours. The message is on disk: the promise stands, and the spool has what the scheduler did not take.
            _log.exception("delivery.not_offered", message=message_id_text(accepted.message_id))
            self._rescan()

"""What the SMTP door asks, answered by the facts: the one place where door, policy, intake and delivery meet."""

from __future__ import annotations

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
from sekisho.submission import Accepted, Intake, Submission
from sekisho.wire.mail.address import Mailbox

_log = structlog.get_logger()

USERNAME: Final = b"apikey"
"""The vendor's literal user name (sheet smtp.md §3). People are never looked up."""

HasRoute = Callable[[Identity, str], bool]
"""Whether some route takes mail of this sender to this domain."""


def recipient_question(has_route: HasRoute) -> Callable[[Identity, Mailbox, int], Refused | None]:
    """Make the question that every recipient must pass, from RCPT and from X-SMTPAPI ``to`` alike."""

    def ask(identity: Identity, mailbox: Mailbox, already: int) -> Refused | None:
        refused = sending.may_mail(identity, mailbox, already)
        if refused is not None:
            return refused
        if not has_route(identity, mailbox.domain):
            return Refused(Reason.RECIPIENT_UNROUTABLE, f"no route to {mailbox.domain}")
        return None

    return ask


class SmtpGate:
    """Implements ``doors.smtp.session.Gate`` for one relay worker."""

    def __init__(
        self,
        *,
        verifier: Verifier,
        intake: Intake,
        ask_recipient: Callable[[Identity, Mailbox, int], Refused | None],
        offer: Callable[[Sequence[Delivery]], None],
        rescan: Callable[[], None],
        clock: Clock,
    ) -> None:
        """``offer`` is handed what was just committed; ``rescan`` makes the scheduler look into the spool."""
        self._verifier: Final = verifier
        self._intake: Final = intake
        self._offer: Final = offer
        self._rescan: Final = rescan
        self._clock: Final = clock
        self.recipient: Final = ask_recipient

    async def authenticate(self, username: bytes, password: Secret[bytes], address: IPAddress) -> Identity | Refused:
        if username != USERNAME:
            return Refused(Reason.AUTH_BAD_USERNAME)
        found = await self._verifier.authenticate(password, address)
        if isinstance(found, Refused):
            return found
        return sending.may_send(found) or found

    def admits(self, identity: Identity) -> Refused | None:
        return self._verifier.admits(identity, self._clock.now_ms())

    async def accept(self, submission: Submission) -> Accepted | Refused:
        try:
            answer = await self._intake.accept(submission)
        except DatabaseUnavailable:
            # Who may send as what cannot be known: never accepted on a guess.
            return Refused(Reason.STORAGE_UNAVAILABLE)
        if isinstance(answer, Refused):
            return answer
        accepted, deliveries = answer
        if deliveries:
            try:
                self._offer(deliveries)
            except Exception:  # noqa: BLE001
                # Ours. The message is on disk: the promise stands, and the spool has what the scheduler did not take.
                _log.exception("delivery.not_offered", message=message_id_text(accepted.message_id))
                self._rescan()
        return accepted

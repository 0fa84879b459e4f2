"""Record what attempts came to: verdict in, outcome on disk, one log line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from sekisho.delivery.ledger import Ledger
from sekisho.delivery.verdict import Temporary, Verdict
from sekisho.ids import message_id_text
from sekisho.ports.clock import Clock
from sekisho.queue.model import NOWHERE, Bounced, Deferred, Delivered, Delivery, Dropped, Expired, Outcome
from sekisho.queue.retry import RetryPolicy, next_attempt
from sekisho.queue.spool import Settlement, Spool

_log = structlog.get_logger(__name__)

FAULTS_MAX = 5
"""Attempts in a row that end in a fault of our own, or in the worker's death, after which a delivery is set aside."""
RETRY_SETTLE_S = 1.0
"""Pause before a settlement that could not be written is written again."""


class Settling:
    """Turns verdicts into outcomes and has the spool write them; knows when all is written."""

    def __init__(
        self,
        spool: Spool,
        ledger: Ledger,
        *,
        clock: Clock,
        wall: Clock,
        retry: RetryPolicy,
        chance: Callable[[], float],
        on_settled: Callable[[Delivery, Outcome], None],
    ) -> None:
        """``on_settled`` is called once the outcome is on disk and the delivery has left memory.

        ``clock`` is the spool's: due times and ages are on it. ``wall`` says when something happened.
        """
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._wall = wall
        self._retry = retry
        self._chance = chance
        self._on_settled = on_settled
        self._attempts: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__).bind()
        self.unwritten = 0
        """Settlements handed to the spool and not yet on disk."""

    def refresh(self) -> None:
        """Follow the log's configuration; a bound logger is cheap to use and keeps the level it was made with."""
        self._attempts = structlog.get_logger(__name__).bind()

    def conclude(self, delivery: Delivery, verdict: Verdict | Dropped) -> None:
        """An attempt is over."""
        outcome = self._outcome(delivery, verdict, self._clock.now_ms()) if isinstance(verdict, Temporary) else verdict
        _tell(self._attempts, delivery, outcome)
        self.unwritten += 1
        self._ledger.settling(delivery)
        self._write(Settlement(delivery, outcome, self._wall.now_ms()))

    def _outcome(self, delivery: Delivery, verdict: Temporary, now_ms: int) -> Outcome:
        attempt = delivery.attempts + 1
        next_ms = next_attempt(self._retry, attempt, delivery.since_ms, now_ms, self._chance())
        if next_ms is None:
            return Expired(verdict.reply, verdict.status, verdict.remote, verdict.classification)
        if not verdict.is_fault:
            return Deferred(verdict.reply, next_ms, verdict.status, verdict.remote)
        faults = delivery.faults + 1
        is_enough = verdict.is_lasting or faults >= FAULTS_MAX
        return Deferred(verdict.reply, next_ms, verdict.status, verdict.remote, faults, is_enough)

    def is_expired(self, delivery: Delivery) -> bool:
        """Whether its time is up: the next attempt that does not deliver it is the last."""
        return self._clock.now_ms() >= delivery.since_ms + round(self._retry.max_age_s * 1000)

    def _write(self, settlement: Settlement) -> None:
        self._spool.settle(settlement).add_done_callback(partial(self._written, settlement))

    def _written(self, settlement: Settlement, future: asyncio.Future[bool]) -> None:
        if future.cancelled() or future.exception() is not None:
            # What happened has happened: a delivered message is never sent again because its outcome was not written.
            _log.error(
                "delivery.settle_failed",
                message=message_id_text(settlement.delivery.message.id),
                recipient=settlement.delivery.recipient.index,
                error=None if future.cancelled() else repr(future.exception()),
            )
            future.get_loop().call_later(RETRY_SETTLE_S, self._write, settlement)
            return
        if not future.result() and isinstance(settlement.outcome, Delivered):
            # An operator dropped it while a host was taking it. Its one outcome is "dropped"; this line is the rest.
            _log.warning(
                "delivery.delivered_and_dropped",
                message=message_id_text(settlement.delivery.message.id),
                recipient=settlement.delivery.recipient.index,
                reply=settlement.outcome.reply,
            )
        if isinstance(settlement.outcome, Deferred) and settlement.outcome.is_set_aside:
            _log.error(
                "delivery.set_aside",
                message=message_id_text(settlement.delivery.message.id),
                recipient=settlement.delivery.recipient.index,
                reason=settlement.outcome.reply,
                faults=settlement.outcome.faults,
            )
        self.unwritten -= 1
        self._ledger.release(settlement.delivery)
        self._on_settled(settlement.delivery, settlement.outcome)


_NAMES: dict[type[Outcome], str] = {
    Bounced: "bounced",
    Deferred: "deferred",
    Delivered: "delivered",
    Dropped: "dropped",
    Expired: "expired",
}


def _tell(log: structlog.typing.FilteringBoundLogger, delivery: Delivery, outcome: Outcome) -> None:
    """Write the attempt's one log line; the reply is escaped and bounded already."""
    message = delivery.message
    if isinstance(outcome, Dropped):
        reply, remote = outcome.reason, NOWHERE
    else:
        reply, remote = outcome.reply, outcome.remote
    log.info(
        "delivery.attempt",
        message=message_id_text(message.id),
        recipient=delivery.recipient.index,
        destination=delivery.recipient.destination,
        outcome=_NAMES[type(outcome)],
        reply=reply,
        host=remote.host,
        ip=remote.ip,
        tls=remote.tls_version,
        attempt=delivery.attempts + 1,
        key=message.key_id,
    )

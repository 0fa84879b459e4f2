"""New accounts that have sent well for long enough: their first limit is lifted."""

from __future__ import annotations

from typing import Final

import structlog

from sekisho import accounts, signup
from sekisho.audit import By
from sekisho.db import Database
from sekisho.events import stats
from sekisho.ports.clock import DAY_MS, Clock
from sekisho.service.config import NewAccounts
from sekisho.service.periodic import Periodic
from sekisho.signup import Probation, Sent, Terms
from sekisho.signup.model import WINDOW_DAYS

_log = structlog.get_logger()

EVERY_S: Final = 600.0

_ACTOR: Final = "reputation"
"""In the audit log: nobody did it by hand."""

_ITSELF: Final = 0
"""Of an account's numbers by subuser, its own."""


def terms_of(config: NewAccounts) -> Terms:
    return Terms(
        config.daily_credits,
        round(config.lift_after_s * 1000),
        config.lift_delivered,
        config.lift_bounces_percent,
    )


def lifter(control: Database, events: Database, terms: Terms, clock: Clock) -> Periodic:
    """Look every ten minutes; one process of a data directory is enough, more do no harm."""
    return Periodic("first limits", lambda: lift_earned(control, events, terms, clock.now_ms()), every_s=EVERY_S)


def lift_earned(control: Database, events: Database, terms: Terms, now_ms: int) -> int:
    """Lift what is earned now; of how many accounts."""
    with control.connect() as tx:
        waiting = [
            (one, [_ITSELF, *(subuser.id for subuser in accounts.list_subusers(tx, one.account_id))])
            for one in signup.on_probation(tx)
        ]
    lifted = 0
    for one, senders in waiting:
        sent = _sent(events, one, senders, now_ms)
        if not signup.is_earned(terms, sent, since_ms=one.since_ms, now_ms=now_ms):
            continue
        with control.begin() as tx:
            done = signup.lift(tx, one, by=By(_ACTOR, now_ms))
        if done:
            _log.info("account.limits_lifted", account=one.account_id, delivered=sent.delivered, lost=sent.lost)
            lifted += 1
    return lifted


def _sent(events: Database, one: Probation, senders: list[int], now_ms: int) -> Sent:
    today = now_ms // DAY_MS
    with events.connect() as tx:
        found = stats.over(tx, one.account_id, senders, stats.Days(today - WINDOW_DAYS + 1, today))
    counts = stats.added(found.values())
    return Sent(counts.get("delivered", 0), counts.get("bounces", 0) + counts.get("blocks", 0))

"""What a deleted subuser has left in other stores goes too."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog

from sekisho import accounts
from sekisho.db import Database
from sekisho.events.erasing import erase_subuser
from sekisho.ports.clock import Clock
from sekisho.queue.counters import has_queued
from sekisho.service.periodic import Periodic

_log = structlog.get_logger()

EVERY_S: Final = 60.0

SETTLED_MS: Final = 600_000
"""So long after its deletion the last events of its dropped mail have long been moved to the store."""


def eraser(control: Database, events: Database, spool: Path, clock: Clock) -> Periodic:
    """Erase each minute; one process of a data directory is enough, more do no harm."""
    return Periodic("erasing", lambda: erase(control, events, spool, clock.now_ms()), every_s=EVERY_S)


def erase(control: Database, events: Database, spool: Path, now_ms: int) -> int:
    """Erase what there is now; how many subusers have left nothing."""
    with control.connect() as tx:
        gone = accounts.unerased(tx)
    done = 0
    for one in gone:
        erased = erase_subuser(events, one.account_id, one.id)
        if erased:
            _log.info("subuser.events_erased", subuser=one.id, events=erased)
        # The clock may have been set back: then it is erased once more than needed, and marked later.
        if now_ms - one.deleted_ms >= SETTLED_MS and not has_queued(spool, one.id):
            with control.begin() as tx:
                accounts.mark_erased(tx, one.id, at_ms=now_ms)
            done += 1
    return done

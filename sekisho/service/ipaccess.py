"""What IP Access Management does beside the doors, put together."""

from __future__ import annotations

from typing import Final

from sekisho.db import Database
from sekisho.ipaccess.actions import is_due, roll_back_due
from sekisho.ipaccess.activity import Activity
from sekisho.ports.clock import Clock
from sekisho.service.periodic import Periodic

FLUSH_S: Final = 2.0
ROLL_BACK_S: Final = 5.0


def activity_writer(activity: Activity) -> Periodic:
    """Write what a worker's doors have seen, each few seconds and at the end."""
    return Periodic("ip access activity", activity.flush, every_s=FLUSH_S, last=lambda: activity.flush(everything=True))


def roll_backs(control: Database, clock: Clock) -> Periodic:
    """Bring back lists whose trial is over. One process of a data directory is enough; more do no harm."""
    return Periodic("ip access roll-back", lambda: roll_back(control, clock.now_ms()), every_s=ROLL_BACK_S)


def roll_back(control: Database, now_ms: int) -> int:
    """Bring back what is due now; how many lists."""
    with control.connect() as tx:
        if not is_due(tx, now_ms):
            return 0
    with control.begin() as tx:
        return roll_back_due(tx, now_ms)
